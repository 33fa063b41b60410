/** The replies of chainrule.explorer.protocol, as the browser code sees them. */

export type Row = (number | null)[];

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
    biases: boolean; engine: string; seed: number;
  };
  layers: Layer[];
  weights: Weights[];
  sample: {
    index: number; count: number; x: Row; y: Row; loss: number | null; width: number;
    predicted: string; expected: string;
  };
  training: {
    step: number; epoch: number; loss: number | null; val_loss: number | null; metric: string;
    curve: Row[]; records: number[]; record: number; message: string; steps_per_second: number;
  };
  settings: {
    learning_rate: number; optimizer: string; batch_size: number; scope: string;
    notation: string; digits: number; first_index: number; letters: Record<string, string>;
  };
  data: { name: string; version: number; train: number; validation: number; kind: string };
  choices: Record<string, string[]>;
  undo: string; redo: string; results?: Results;
}
export interface Equation { lead: string; mathml: string; text: string; target: string }
export interface Step {
  phase: string; layer: number; title: string; words: string; equations: Equation[];
}
export interface Formula { text: string; latex: string; mathml: string }
export interface Contribution { unit: number; value: number | null; symbol: Formula }
export interface Term {
  symbol: Formula; formula: Formula; value: number | null;
  derivation: (Formula & { lead: string; tag: string })[];
  numbers: Formula & { lead: string; tag: string };
  contributions: { count: number; rest: number; largest: Contribution[] } | null;
}
export interface Derivation {
  kind: "explanation"; version: number; target: string; words: string; headline: string;
  value: number | null; old: number | null; editable: boolean;
  explanation: {
    n_samples: number; focus: number; terms: Term[]; penalty: Term | null;
    samples: { index: number; terms: Row; product: number | null }[];
    sections: { title: string; symbol: Formula | null; equations: (Formula & { lead: string; tag: string })[] }[];
  };
}
export interface Stop {
  title: string; words: string; equations: Equation[]; target: string; phase: string;
  layer: number; act: string;
}
export interface Transport {
  readonly live: boolean;
  start(): Promise<Frame>;
  ask(request: Record<string, unknown>): Promise<any>;
  train(request: Record<string, unknown>, onFrame: (frame: Frame) => void): { done: Promise<void>; stop(): void };
}
