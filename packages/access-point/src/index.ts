/** Public door of @restitch/access-point. */
export {};
