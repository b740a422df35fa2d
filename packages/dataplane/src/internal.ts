/** Door for sibling packages of @restitch/dataplane. */
export {};
