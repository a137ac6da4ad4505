// The documents of package report: what it marshals, these components draw.
type Value = number | null;

export interface BarsDocument { kind: 'bars'; caption: string; axis: string; dots: boolean; rows: { label: string; group: string; value: Value; stderr: Value; text?: string; invalid?: string }[] }
export interface HeatMapDocument { kind: 'heatmap'; caption: string; x: string; from: number; to: number; unit: string; rows: string[]; values: Value[][]; log: boolean; note: string }
export interface FlowDocument { kind: 'flow'; caption: string; unit: string; stages: { name: string; in: number; out: number; note: string }[]; note: string }
export interface GanttDocument { kind: 'gantt'; caption: string; x: string; rows: string[]; bars: { row: number; start: number; end: number; label: string; title: string; heat: number }[]; note: string }
export interface FloorDocument { kind: 'floor'; caption: string; unit: string; width: number; height: number; low: Value; high: Value; areas: [number, number, number, number, Value, string?][] }
export interface PlotDocument {
  kind: 'plot'; caption: string; x: string; y: string; log_x: boolean; log_y: boolean; diagonal?: boolean; shares?: boolean; note: string;
  lines: { name: string; heat: number; x: Value[]; y: Value[]; band?: Value[]; dots?: boolean; error_x?: Value[]; error_y?: Value[]; heats?: number[]; titles?: string[] }[];
  marks: { name: string; from: number; to: number }[];
}
export type ChartDocument = BarsDocument | HeatMapDocument | FlowDocument | GanttDocument | FloorDocument | PlotDocument;
export interface TableDocument { columns: string[]; words: boolean[]; rows: string[][]; heat?: Value[] }
export interface FindingDocument { id?: string; severity: 'info' | 'warning' | 'critical'; group?: string; what: string; evidence: string; change: string }
export interface PageDocument {
  title: string; lead?: string; facts?: { label: string; value: string }[]; figures?: { label: string; value: string; unit?: string; note?: string }[];
  findings: FindingDocument[] | null; sections: { id?: string; title: string; text?: string; shows?: string[]; charts?: ChartDocument[]; table?: TableDocument }[];
}
