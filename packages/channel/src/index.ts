/** Public door of @restitch/channel. */
export {};
