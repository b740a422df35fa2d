/** Public door of @restitch/sys. */
export {};
