import { busy } from '../errors/index.ts';

/** Calls under way, on all wires together. */
export interface Flights {
  open: number;
}

export interface FlightLimits {
  readonly flights: Flights;
  readonly maxCallsInFlight: number;
  /** Aborts when the server starts to drain. */
  readonly draining: AbortSignal;
}

/** @throws ProtocolError `busy` when the server shuts down, or has too many calls, this one included */
export function refuseWhenBusy({ flights, maxCallsInFlight, draining }: FlightLimits): void {
  if (draining.aborted) throw busy('the server is shutting down', 1_000);
  if (flights.open > maxCallsInFlight) throw busy('too many calls at once', 1_000);
}

/**
 * Are there so many that even those who are refused must not wait, for an audit that hangs? Then the memory would
 * fill with them.
 */
export function isFlood({ flights, maxCallsInFlight }: FlightLimits): boolean {
  return flights.open > 2 * maxCallsInFlight;
}
