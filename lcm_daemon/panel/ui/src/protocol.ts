/** What travels over the panel's WebSocket; lcm_daemon/panel/server.py tells the protocol. */

export type Value = number | boolean | string;
export type Status = Record<string, Value | null>;

export interface Parameter {
  name: string;
  kind: "float" | "int" | "bool" | "text" | "choice";
  default: Value;
  help: string;
  low: number | null;
  high: number | null;
  unit: string;
  glide: number;
  choices: string[];
}

export interface Command {
  name: string;
  help: string;
}

export interface Hello {
  version: string;
  show: string;
  you: string;
  parameters: Parameter[];
  commands: Command[];
  values: Record<string, Value>;
  status: Status;
}

export interface Change {
  name: string;
  value: Value;
  origin: string;
}

export interface ServerMessage {
  hello?: Hello;
  changes?: Change[];
  status?: Status;
  error?: string;
}

export interface ClientMessage {
  set?: Record<string, Value>;
  command?: string;
  frame?: "ack";
}
