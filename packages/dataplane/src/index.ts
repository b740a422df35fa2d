/** Public door of @restitch/dataplane. */
export {};
