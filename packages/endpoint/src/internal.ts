/** Door for sibling packages of @restitch/endpoint. */
export {};
