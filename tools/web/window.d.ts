// What the page's components share through the window.

/** What the controls may ask of the lens. */
interface LensHandle {
  /** Move both sliders; the set is drawn before this returns, and what was really chosen comes back. */
  set(n1: number, k: number): { n1: number; k: number } | null;
  limits(): {
    n: number;
    staged: boolean; // whether there is a first stage whose size can be chosen
    k: number;
    n1: number;
    run: { k: number; n1: number };
    paper: { k: number; n1: number } | null;
  } | null;
  kept(): number[];
  /** The set where a person changed it, else null. */
  byHand(): number[] | null;
  order(): number[];
  /** Whether the order is that of the chosen first-stage size rather than of the nearest one known. */
  exact(): boolean;
  pin(token: number): void;
  view(name: string): void;
  ready(): boolean;
  dock: HTMLElement;
}

interface Window {
  trimviz: Record<string, LensHandle>;
}

interface WindowEventMap {
  "trimviz:loaded": CustomEvent<{ id: string; same: boolean }>;
  "trimviz:edited": CustomEvent<{ id: string }>;
}
