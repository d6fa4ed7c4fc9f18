/** Messages of the panel's WebSocket; lcm_daemon/controllers/panel/server.py describes the protocol. */

export type Value = number | boolean | string;
export type Status = Record<string, Value | null>;

/** What there is to choose from, such as looks or sources: rows by the name of their list. */
export type Row = Record<string, Value>;
export type Lists = Record<string, Row[]>;

export interface Parameter {
  name: string;
  kind: "float" | "int" | "bool" | "text" | "choice";
  default: Value;
  help: string;
  low: number | null;
  high: number | null;
  unit: string;
  step: number; // an int is a multiple of it
  logarithmic: boolean; // faders are finer near the low end
  draws: boolean; // -1 asks for a random number
  glide: number;
  choices: string[];
  glided_by: string;
  group: string; // what belongs together
  needs: Need[]; // all of these, to have an effect
}

/** What a parameter needs to have an effect: one of the conditions. `reason` follows "while". */
export interface Need {
  reason: string;
  conditions: Condition[];
}

/** A test of another parameter's value: between numbers, one of some values, or not empty. */
export interface Condition {
  parameter: string;
  above: number | null;
  below: number | null;
  values: string[];
  filled: boolean;
}

export interface Command {
  name: string;
  help: string;
  arguments: Parameter[];
  optional: number; // how many of the last arguments may be missing
}

/** The parameters and commands; a change of the recipe replaces them. */
export interface Table {
  parameters: Parameter[];
  commands: Command[];
  values: Record<string, Value>;
}

export interface Hello extends Table {
  version: string;
  show: string;
  you: string;
  /** What this client may do; a view-only one's requests are refused. */
  role: "play" | "view";
  camera: boolean;
  status: Status;
  live: Record<string, number>;
  lists: Lists;
  status_help: Record<string, string>; // what the entries of the status mean
}

export interface Change {
  name: string;
  value: Value;
  origin: string;
}

export interface ServerMessage {
  hello?: Hello;
  table?: Table;
  changes?: Change[];
  status?: Status;
  live?: Record<string, number>;
  lists?: Lists;
  beat?: number;
  error?: string;
  camera?: "ack" | "lost";
  frame?: "input"; // the next binary message is a frame of the input
}

export interface ClientMessage {
  set?: Record<string, Value> | undefined;
  command?: string | { name: string; arguments: Value[] };
  beat?: number | undefined;
  frame?: "ack";
  input?: "next";
  camera?: "start" | "stop";
  look?: "sources";
}
