/** Door for sibling packages of @restitch/analytics. */
export {};
