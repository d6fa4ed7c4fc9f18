/** Messages of the audience server; lcm_daemon/audience/server.py describes the protocol. */
import type { Parameter, Value } from "../protocol";

/** What every visitor reads about the show. */
export interface Show {
  show: string;
  /** How to send the camera; null in a show that takes no picture of visitors. */
  camera: { side: number; fps: number } | null;
  /** Whether the last picture of each session is kept. */
  keeps: boolean;
  /** Length of a turn. */
  seconds: number;
}

/** The answer of /join/state. */
export interface Before extends Show {
  open: boolean;
  waiting: number;
  wait: number;
  full: number; // seconds until there may be room; 0 if there is
  number: number | null; // of the visitor's session
}

export interface Refused {
  refused: "full" | "closed" | "blocked" | "often";
  seconds: number;
}

export interface Message {
  hello?: Show & { number: number };
  state?: { phase: "waiting"; place: number; wait: number } | { phase: "turn"; left: number };
  table?: { parameters: Parameter[]; values: Record<string, Value> };
  values?: Record<string, Value>;
  camera?: "ack";
  withheld?: boolean;
  ended?: string;
  error?: string;
}
