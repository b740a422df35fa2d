/** Door for sibling packages of @restitch/core. */
export {};
