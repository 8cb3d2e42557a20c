import type { Schemas } from "./client";

export type Whoami = Schemas["Whoami"];
export type Request = Schemas["Request"];
export type Connection = Schemas["Connection"];
export type ConnectionRole = Schemas["ConnectionRole"];
export type Grant = Schemas["Grant"];
export type Credential = Schemas["Credential"];
export type PrincipalRef = Schemas["PrincipalRef"];
export type Review = Schemas["Review"];
