/** Public door of @restitch/core. */
export {};
