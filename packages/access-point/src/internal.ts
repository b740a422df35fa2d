/** Door for sibling packages of @restitch/access-point. */
export {};
