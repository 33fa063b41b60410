/** The replies of chainrule.explorer.protocol, in TypeScript. */

/** A number, or the name of one that JSON has no number for. */
export type Value = number | "inf" | "-inf" | "nan";
export type Row = Value[];

export interface Layer {
  units: number; activation: string | null; shown: number[];
  z: Row; a: Row; delta: Row; dC_da: Row; b: Row; db: Row; marks: string[];
}
export interface Weights { w: Row[]; dw: Row[] }
export interface Results {
  kind: "results"; type: "surface" | "fit" | "confusion" | "none";
  box: number[]; grid: Row[]; points: Row[]; validation: Row[];
  matrix: number[][]; samples: number[][]; images: Row[];
  accuracy: number | null; levels: number[];
}
export interface Frame {
  kind: "frame"; version: number;
  network: {
    sizes: number[]; activations: string[]; loss: string; parameters: number;
    biases: boolean; l2: number; engine: string; seed: number;
  };
  layers: Layer[];
  weights: Weights[];
  sample: {
    index: number; count: number; block: number; x: Row; y: Row; loss: Value; width: number;
    predicted: string; expected: string;
  };
  training: {
    step: number; epoch: number; loss: Value; val_loss: Value | null; metric: string;
    curve: (Value | null)[][]; records: number[]; record: number; message: string; steps_per_second: number;
  };
  settings: {
    learning_rate: number; optimizer: string; batch_size: number; scope: string;
    notation: string; digits: number; first_index: number; letters: Record<string, string>;
    layers: string[]; bare: boolean;
  };
  data: { name: string; version: number; train: number; validation: number; kind: string; columns: string[]; labels: string[]; scaled: boolean;
    share: number; noise: number; seed: number; derived: string[]; formulas: string[]; why_not_derived: string;
    outputs: { least: number; most: number; why: string } };
  choices: {
    datasets: string[]; activations: string[]; outputs: string[]; losses: string[]; notations: string[];
    optimizers: string[]; derived: { name: string; formula: string; words: string }[];
  };
  limits: { units: number; steps: number; file: number; name: number };
  undo: string; redo: string; results?: Results;
}
/** A part of the drawing, under the name of what it opens; its elements differ by kind. */
export interface Part {
  kind: "w" | "a" | "b" | "array" | "strip" | "y" | "loss";
  node: any; layer: number;
  [name: string]: any;
}
export interface Equation { lead: string; mathml: string; text: string; target: string }
export interface Step {
  phase: string; layer: number; title: string; words: string; equations: Equation[];
}
export interface Contribution { unit: number; value: Value; symbol: string }
export interface Contributions { count: number; rest: Value; largest: Contribution[] }
export interface Derivation {
  kind: "explanation" | "array"; version: number; target: string; words: string; headline: string;
  text?: string; // of an array, its headline in plain signs
  value: Value; old: Value; editable: boolean;
  sections: {
    title: string; symbol: string; equations: Equation[]; tags: string[];
    contributions: Contributions | null; has_samples: boolean;
  }[];
  heads: string[]; samples: Row[]; n_samples: number; focus: number;
}
export interface Passage {
  title: string; symbol: string; name: string; target: string; phase: string; layer: number; step: number;
  light: string[]; equations: Equation[]; tags: string[]; matrix: number;
}
export interface WorkedExample {
  kind: "worked"; version: number; setting: string; losses: Row; steps: number;
  freeze_biases: boolean; biases: boolean; drawn: { title: string; words: string; svg: string };
  passages: Passage[]; matrices: { layer: number; equations: Equation[]; arrays: string[] }[];
  language: string; words: Record<string, string>;
}
export interface Block { kind: "p" | "li"; spans: { text: string; style: string }[] }
export interface Stop {
  kind: "stop"; at: number; title: string; text: Block[]; equations: Equation[];
  heads: Equation[]; samples: Row[]; mark: string; light: string[]; phase: string; layer: number;
  act: string; open: string; question: { ask: string; choices: string[] } | null;
  buttons: { label: string; requests: Record<string, unknown>[] }[];
}
export interface Transport {
  readonly live: boolean;
  readonly linkWords?: string; // for whom a link to the state opens
  readonly engineNote?: string; // why training is slower than it could be
  readonly notices?: string; // of other people's software in the page
  save?(): Promise<void>; // as a page of its own
  start(): Promise<Frame>;
  ask(request: Record<string, unknown>): Promise<any>;
  train(request: Record<string, unknown>, onFrame: (frame: Frame) => void): { done: Promise<void>; stop(): void };
}
