package thermo

// Severity says how much a finding matters.
type Severity string

// The severities, from worth knowing to act now.
const (
	Info     Severity = "info"
	Warning  Severity = "warning"
	Critical Severity = "critical"
)

// A Finding is one thing worth acting on, in plain language: what is wrong, the
// evidence in numbers, and one change to try. An empty list means that nothing
// was found.
type Finding struct {
	ID       string   `json:"id"` // stable and machine-readable: "dead-units"
	Severity Severity `json:"severity"`
	Group    string   `json:"group,omitempty"` // the layer, empty for the whole system
	What     string   `json:"what"`
	Evidence string   `json:"evidence"`
	Change   string   `json:"change"`
	// Confidence is the chance that the evidence is more than luck; 0 when it is
	// not estimated, 1 when it is no matter of chance.
	Confidence float64 `json:"confidence,omitempty"`
}
