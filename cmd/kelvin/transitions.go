package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/kelvin-ml/kelvin/monitor"
	"github.com/kelvin-ml/kelvin/report"
	"github.com/kelvin-ml/kelvin/thermo"
	"github.com/spf13/cobra"
)

func newTransitionsCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "transitions RUN",
		Short: "The phases of a training run and the transitions between them",
		Long: `Tells a run as phases and phase transitions. Left alone, a system relaxes ever more
slowly; where its energy, its temperatures, its heat capacity or an order
parameter speeds up, it has passed a transition: a jump (first-order-like) or a
bend (continuous), with a p-value corrected for all places looked at. A change of
the learning rate or the batch at that moment is named as its cause.

Order parameters are the values that the run records of the whole system: an
accuracy, a held-out loss; and the norm of its weights.`,
		Example: `  kelvin transitions runs/grokking
  kelvin transitions runs/a --html transitions.html`,
		Args: exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			h, err := monitor.ReadHistory(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			d := newTransitionsDocument(args[0], h)
			if err := writePage(cmd, d.page); err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), d)
			}
			return d.print(cmd.OutOrStdout())
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	addHTMLFlag(cmd)
	return cmd
}

// transitionsDocument is what kelvin transitions prints
// (docs/commands/transitions.md).
type transitionsDocument struct {
	Schema      string             `json:"schema"`
	Run         string             `json:"run"`
	Curves      []curveName        `json:"curves"` // looked at
	Phases      []runPhase         `json:"phases"`
	Transitions []transitionEntry  `json:"transitions"`
	Training    *thermo.Transition `json:"training"` // from the initial weights to the last phase
	NotTold     string             `json:"training_reason,omitempty"`
	Problems    []string           `json:"problems"`

	history *monitor.History
}

type curveName struct {
	Name  string `json:"name"`
	Layer string `json:"layer,omitempty"`
}

type runPhase struct {
	First        int64          `json:"first_step"`
	Last         int64          `json:"last_step"`
	LearningRate *float64       `json:"learning_rate"`
	Energy       thermo.Reading `json:"energy"`
	Temperature  thermo.Reading `json:"temperature"`
	Kinetic      thermo.Reading `json:"kinetic_temperature"`
	Entropy      thermo.Reading `json:"entropy"`
	Stationarity thermo.Reading `json:"stationarity"`
	Layers       []phaseLayer   `json:"layers"`
}

type phaseLayer struct {
	Name        string         `json:"name"`
	Temperature thermo.Reading `json:"temperature"`
	Entropy     thermo.Reading `json:"entropy"`
	Heat        thermo.Reading `json:"heat"`
}

type transitionEntry struct {
	First       int64          `json:"first_step"`
	Last        int64          `json:"last_step"`
	Kind        string         `json:"kind"`
	Driven      string         `json:"driven,omitempty"`
	P           float64        `json:"p"`
	Changes     []changeEntry  `json:"changes"`
	Temperature thermo.Reading `json:"temperature"`    // ΔU/ΔS
	Entropy     thermo.Reading `json:"entropy_change"` // gained
	Heat        thermo.Reading `json:"latent_heat"`    // T ΔS given off
}

type changeEntry struct {
	curveName
	First  float64        `json:"first_step"`
	Last   float64        `json:"last_step"`
	Before thermo.Reading `json:"before"`
	After  thermo.Reading `json:"after"`
	Kind   string         `json:"kind"`
	P      float64        `json:"p"`
}

func newTransitionsDocument(dir string, h *monitor.History) *transitionsDocument {
	d := &transitionsDocument{Schema: schema, Run: dir, Curves: []curveName{}, Phases: []runPhase{}, Transitions: []transitionEntry{},
		Training: h.Training, NotTold: h.NotTold, Problems: append([]string{}, h.Problems...), history: h}
	for _, c := range h.Curves {
		d.Curves = append(d.Curves, curveName{c.Name, c.Layer})
	}
	for _, p := range h.Phases {
		row := runPhase{First: p.First, Last: p.Last, LearningRate: defined(p.Report.LearningRate), Energy: p.Report.Loss, Temperature: p.Report.Temperature,
			Kinetic: p.Report.Kinetic, Entropy: p.Entropy, Stationarity: p.Report.Stationarity, Layers: []phaseLayer{}}
		for _, l := range p.Layers {
			row.Layers = append(row.Layers, phaseLayer(l))
		}
		d.Phases = append(d.Phases, row)
	}
	for _, t := range h.Transitions {
		row := transitionEntry{First: t.First, Last: t.Last, Kind: t.Kind, Driven: t.Driven, P: t.P, Temperature: t.States.Temperature, Entropy: negative(t.States.Entropy), Heat: t.States.Heat}
		for _, c := range t.Changes {
			row.Changes = append(row.Changes, changeEntry{d.Curves[c.Curve], c.First, c.Last, c.Before, c.After, c.Kind(), c.P})
		}
		d.Transitions = append(d.Transitions, row)
	}
	return d
}

func (d *transitionsDocument) print(out io.Writer) error {
	fmt.Fprintf(out, "%s: %s\n\n", d.Run, d.lead())
	table := d.table()
	if err := table.Print(out); err != nil {
		return err
	}
	for i, t := range d.Transitions {
		fmt.Fprintf(out, "\ntransition %d, steps %d to %d: %s, p = %s\n", i+1, t.First, t.Last, t.Kind, thermo.Format(t.P, 1))
		if t.Driven != "" {
			fmt.Fprintf(out, "  driven: %s\n", t.Driven)
		}
		for _, c := range t.Changes {
			fmt.Fprintf(out, "  %s: %s → %s\n", c.label(), cell(c.Before), cell(c.After))
		}
		fmt.Fprintf(out, "  latent heat T ΔS: %s energy; entropy change %s nat, ΔU/ΔS %s energy/nat\n", cell(t.Heat), cell(t.Entropy), cell(t.Temperature))
	}
	if d.Training != nil {
		fmt.Fprintf(out, "\nfrom the initial weights to phase %d: ΔU %s, ΔS %s nat, transition temperature %s energy/nat\n", len(d.Phases),
			cell(negative(d.Training.Heat)), cell(negative(d.Training.Entropy)), cell(d.Training.Temperature))
	} else {
		fmt.Fprintf(out, "\nno transition from the initial weights: %s\n", d.NotTold)
	}
	fmt.Fprintln(out, "In brackets: not valid, because still drifting (--json says why).")
	for _, p := range d.Problems {
		fmt.Fprintf(out, "records: %s\n", p)
	}
	return nil
}

// negative turns a loss from a to b into a gain.
func negative(r thermo.Reading) thermo.Reading {
	r.Value = -r.Value
	return r
}

func (d *transitionsDocument) lead() string {
	var names []string
	layers := 0
	for _, c := range d.Curves {
		if c.Layer != "" {
			layers++
			continue
		}
		names = append(names, c.Name)
	}
	if layers > 0 {
		names = append(names, fmt.Sprintf("the temperatures of %d layers", layers))
	}
	count := "no transition"
	switch n := len(d.Transitions); {
	case n == 1:
		count = "one transition"
	case n > 1:
		count = fmt.Sprintf("%d transitions", n)
	}
	return fmt.Sprintf("%s in %s", count, strings.Join(names, ", "))
}

func (c changeEntry) label() string {
	if c.Layer == "" {
		return c.Name
	}
	return c.Name + " of layer " + c.Layer
}

func (d *transitionsDocument) table() report.Table {
	t := report.Table{Columns: []string{"phase", "steps", "learning rate (θ²/energy)", "energy (loss)", "temperature (energy/nat)", "entropy (nat)", "stationarity (1)"}, Words: map[int]bool{1: true}}
	for i, p := range d.Phases {
		t.Rows = append(t.Rows, []string{fmt.Sprint(i + 1), fmt.Sprintf("%d to %d", p.First, p.Last), orDash("%.4g", p.LearningRate), cell(p.Energy), cell(p.Temperature), cell(p.Entropy), cell(p.Stationarity)})
	}
	return t
}

// heats is the table of what every layer took in from phase to phase.
func (d *transitionsDocument) heats() report.Table {
	t := report.Table{Columns: []string{"layer", "phase (count)", "temperature (energy/nat)", "entropy (nat)", "heat taken in (energy)"}}
	for i, p := range d.Phases {
		for _, l := range p.Layers {
			t.Rows = append(t.Rows, []string{l.Name, fmt.Sprint(i + 1), cell(l.Temperature), cell(l.Entropy), cell(l.Heat)})
		}
	}
	return t
}

func (d *transitionsDocument) page() report.Page {
	table, heats := d.table(), d.heats()
	page := report.Page{Title: "Phases of " + d.Run, Lead: upperFirst(d.lead()) + ".",
		Sections: []report.Section{{Title: "Curves"}, {Title: "Phases", Table: &table}}}
	var marks []report.Mark
	for i, t := range d.Transitions {
		marks = append(marks, report.Mark{Name: fmt.Sprint(i + 1), From: float64(t.First), To: float64(t.Last)})
		changes := report.Table{Columns: []string{"quantity", "before (unit of the row)", "after (unit of the row)", "kind", "p (1)"}, Words: map[int]bool{3: true}}
		for _, c := range t.Changes {
			changes.Rows = append(changes.Rows, []string{c.label(), cell(c.Before), cell(c.After), c.Kind, fmt.Sprintf("%.1g", c.P)})
		}
		text := fmt.Sprintf("Steps %d to %d, %s, p = %s. ", t.First, t.Last, t.Kind, thermo.Format(t.P, 1))
		if t.Driven != "" {
			text += "Driven: " + t.Driven + ". "
		}
		page.Sections = append(page.Sections, report.Section{Title: fmt.Sprintf("Transition %d", i+1), Text: text + "Latent heat T ΔS " + known(t.Heat) + ".", Table: &changes})
	}
	var charts []report.Chart
	for _, c := range d.history.Curves {
		if c.Layer != "" {
			continue
		}
		positive := true
		for _, y := range c.Values {
			positive = positive && y > 0
		}
		unit := cmp.Or(c.Unit, "as recorded")
		if unit == c.Name { // an energy is in units of the loss
			unit = "loss"
		}
		charts = append(charts, report.LineChart{Caption: "The " + strings.ReplaceAll(c.Name, "_", " ") + " along the run, with the transitions.", X: "step (count)", Y: fmt.Sprintf("%s (%s)", strings.ReplaceAll(c.Name, "_", " "), unit), LogY: positive,
			Lines: []report.Line{{Name: c.Name, X: c.Steps, Y: c.Values, Hotness: 0.6}}, Marks: marks})
	}
	page.Sections[0].Charts = charts
	page.Sections = append(page.Sections, report.Section{Title: "Layers", Table: &heats})
	return page
}
