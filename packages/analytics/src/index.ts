/** Public door of @restitch/analytics. */
export {};
