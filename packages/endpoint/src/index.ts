/** Public door of @restitch/endpoint. */
export {};
