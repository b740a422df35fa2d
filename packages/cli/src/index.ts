/** Public door of @restitch/cli. */
export {};
