/** Door for sibling packages of @restitch/cli. */
export {};
