package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kelvin-ml/kelvin/power"
	"github.com/kelvin-ml/kelvin/report"
)

type pipelineFlags struct {
	profile, schedule    string
	stages, microbatches int
	idle, deadline       float64
	asJSON               bool
}

func newEnergyPipelineCommand() *cobra.Command {
	f := pipelineFlags{}
	c := &cobra.Command{
		Use:   "pipeline --profile FILE.csv",
		Short: "Exact time-energy frontier of a training pipeline, and a frequency for every instruction",
		Long: `Finds for every time a pipeline may take the least energy it can draw, exactly:
instructions off the critical path run slower, at measured frequencies and anything
in between. Prints the frontier and the plan for a deadline (of a slower stage or
pipeline elsewhere that must be waited for anyway), or of the fastest time.`,
		Example: "  kelvin energy pipeline --profile profile.csv --stages 4 --microbatches 8 --idle-power 70 --html pipeline.html",
		Args:    exactArgs(0),
		RunE:    func(c *cobra.Command, _ []string) error { return runEnergyPipeline(c, f) },
	}
	flags := c.Flags()
	flags.StringVar(&f.profile, "profile", "", "measured points: stage, instruction, frequency, time, energy, and chunk of interleaved stages (`csv`)")
	flags.IntVar(&f.stages, "stages", 4, "stages")
	flags.IntVar(&f.microbatches, "microbatches", 8, "microbatches of a step")
	flags.Float64Var(&f.idle, "idle-power", 0, "W that a stage draws while it waits")
	flags.StringVar(&f.schedule, "schedule", "1f1b", "1f1b, gpipe, interleaved, or a graph of instructions (`name` or file.json)")
	flags.Float64Var(&f.deadline, "deadline", 0, "s that a step may take (default the fastest)")
	addHTMLFlag(c)
	flags.BoolVar(&f.asJSON, "json", false, "print one JSON document")
	return c
}

// A pipelineDocument is what kelvin energy pipeline --json prints.
type pipelineDocument struct {
	Schema     string           `json:"schema"`
	Nodes      int              `json:"nodes"`
	Edges      int              `json:"edges"`
	Fastest    float64          `json:"fastest_s"`
	AllMaximum float64          `json:"energy_all_at_maximum_j"`
	Saving     float64          `json:"saving_at_fastest"`
	Frontier   []pipelineCorner `json:"frontier"`
	Deadline   float64          `json:"deadline_s"`
	Energy     float64          `json:"energy_j"`         // of the plan
	Rounded    float64          `json:"energy_rounded_j"` // at measured frequencies alone
	Waiting    float64          `json:"energy_waiting_j"` // all at maximum, then waiting for the deadline
	Plan       []power.Step     `json:"plan"`

	baseline []power.Step
	stages   int
}

type pipelineCorner struct {
	Time   float64 `json:"time_s"`
	Cost   float64 `json:"cost_j"`
	Energy float64 `json:"energy_j"`
}

func runEnergyPipeline(cmd *cobra.Command, f pipelineFlags) error {
	switch {
	case f.profile == "":
		return usagef("expected --profile FILE.csv")
	case f.deadline < 0 || math.IsNaN(f.deadline) || math.IsInf(f.deadline, 0):
		return usagef("--deadline %g: expected a number of seconds", f.deadline)
	case !(f.idle >= 0) || math.IsInf(f.idle, 0):
		return usagef("--idle-power %g: expected watts from 0", f.idle)
	}
	profile, err := power.ReadProfile(f.profile)
	if err != nil {
		return err
	}
	pipeline, err := f.pipeline(profile)
	if err != nil {
		return err
	}
	if cmd.Flags().Changed("stages") && f.stages != pipeline.Stages {
		return usagef("--stages %d: %s has %d", f.stages, f.schedule, pipeline.Stages)
	}
	plan, err := power.Optimise(cmd.Context(), pipeline, profile, f.idle, f.deadline)
	interrupted := err != nil && cmd.Context().Err() != nil && plan != nil && len(plan.Frontier) > 0
	if err != nil && !interrupted {
		return err
	}
	d := newPipelineDocument(pipeline, plan, f.idle)
	if interrupted {
		err = fmt.Errorf("interrupted: the frontier is whole from %.6g s on, and there is no plan", plan.Frontier[0].Time)
		if f.asJSON {
			return errors.Join(printJSON(cmd.OutOrStdout(), d), err)
		}
		return errors.Join(d.printFrontier(cmd.OutOrStdout()), err)
	}
	if err := writePage(cmd, d.page); err != nil {
		return err
	}
	if f.asJSON {
		return printJSON(cmd.OutOrStdout(), d)
	}
	return d.print(cmd.OutOrStdout())
}

func newPipelineDocument(p *power.Pipeline, plan *power.PipelinePlan, idle float64) *pipelineDocument {
	d := &pipelineDocument{Schema: schema, Nodes: len(p.Instructions), Edges: p.Edges(), Fastest: plan.MaximumTime, AllMaximum: plan.AllMaximum,
		Deadline: plan.Deadline, Rounded: plan.Rounded, Plan: append([]power.Step{}, plan.Steps...), baseline: plan.Baseline, stages: p.Stages}
	for _, c := range plan.Frontier {
		d.Frontier = append(d.Frontier, pipelineCorner{c.Time, c.Cost, p.Energy(c, idle)})
	}
	if len(plan.Steps) > 0 { // it was not interrupted
		d.Energy = p.Energy(power.Corner{Time: plan.Deadline, Cost: plan.Cost}, idle)
		d.Waiting = plan.AllMaximum + idle*float64(p.Stages)*(plan.Deadline-plan.MaximumTime)
		d.Saving = 1 - d.Frontier[0].Energy/plan.AllMaximum
	}
	return d
}

func (f pipelineFlags) pipeline(profile power.Profile) (*power.Pipeline, error) {
	if strings.HasSuffix(f.schedule, ".json") {
		return power.ReadPipeline(f.schedule)
	}
	p, err := power.NewPipeline(f.schedule, f.stages, profile.Chunks(), f.microbatches)
	if err != nil {
		return nil, usageError{err}
	}
	return p, nil
}

func (d *pipelineDocument) print(w io.Writer) error {
	fmt.Fprintf(w, "%d instructions, %d dependencies\n", d.Nodes, d.Edges)
	fmt.Fprintf(w, "all at maximum       %.6g J in %.6g s\n", d.AllMaximum, d.Fastest)
	fmt.Fprintf(w, "least in that time   %.6g J, %.2f %% less\n", d.Frontier[0].Energy, 100*d.Saving)
	fmt.Fprintf(w, "plan for %.6g s: %.6g J, %.2f %% less than all at maximum and waiting\n", d.Deadline, d.Energy, 100*(1-d.Energy/d.Waiting))
	fmt.Fprintf(w, "  at measured frequencies alone %.6g J, %.2f %% more (which and when: --json, --html)\n\n", d.Rounded, 100*(d.Rounded/d.Energy-1))
	return d.printFrontier(w)
}

// printFrontier prints points at equal distances in time.
func (d *pipelineDocument) printFrontier(w io.Writer) error {
	table := report.Table{Columns: []string{"time (s)", "energy (J)", "less than all at maximum (%)"}}
	last := len(d.Frontier) - 1
	for k := range 11 {
		t := d.Frontier[0].Time + (d.Frontier[last].Time-d.Frontier[0].Time)*float64(k)/10
		e := d.at(t)
		table.Rows = append(table.Rows, []string{fmt.Sprintf("%.4f", t), fmt.Sprintf("%.2f", e), fmt.Sprintf("%.2f", 100*(1-e/d.AllMaximum))})
		if last == 0 {
			break
		}
	}
	if err := table.Print(w); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "exact: %d corners, linear in between\n", len(d.Frontier))
	return err
}

// at is the energy of the frontier at a time.
func (d *pipelineDocument) at(t float64) float64 {
	for i := 1; i < len(d.Frontier); i++ {
		a, b := d.Frontier[i-1], d.Frontier[i]
		if t <= b.Time {
			x := (t - a.Time) / (b.Time - a.Time)
			return a.Energy*(1-x) + b.Energy*x
		}
	}
	return d.Frontier[len(d.Frontier)-1].Energy
}

func (d *pipelineDocument) page() report.Page {
	line := report.Line{Name: "frontier", Hotness: 0.1}
	for _, c := range d.Frontier {
		line.X, line.Y = append(line.X, c.Time), append(line.Y, c.Energy)
	}
	dots := report.Line{Name: "all at maximum", Hotness: 0.9, Dots: true, X: []float64{d.Fastest}, Y: []float64{d.AllMaximum}}
	plan := report.Line{Name: "the plan", Hotness: 0.5, Dots: true, X: []float64{d.Deadline}, Y: []float64{d.Energy}}
	page := report.Page{
		Title: "A pipeline's time and energy",
		Lead:  fmt.Sprintf("At the fastest time %.2f %% of the energy is saved without losing a second; the plan takes %.4g s and %.5g J.", 100*d.Saving, d.Deadline, d.Energy),
		Sections: []report.Section{
			{Title: "Frontier", Charts: []report.Chart{report.LineChart{Caption: "The least energy in every time, exactly.", X: "time of a step (s)", Y: "energy of a step (J)", Lines: []report.Line{line, dots, plan}}}},
			{Title: "Every instruction at its fastest", Charts: []report.Chart{d.gantt("Colours are frequencies, hot for high ones.", d.baseline)}},
			{Title: "The plan", Charts: []report.Chart{d.gantt("Instructions off the critical path run slower.", d.Plan)}},
		},
	}
	return page
}

// gantt draws steps, in colours that mean the same in all pictures of the document.
func (d *pipelineDocument) gantt(caption string, steps []power.Step) report.GanttChart {
	low, high := math.Inf(1), math.Inf(-1)
	for _, s := range append(d.baseline, d.Plan...) {
		low, high = math.Min(low, s.Frequency), math.Max(high, s.Frequency)
	}
	c := report.GanttChart{Caption: caption, X: "time (s)"}
	for s := range d.stages {
		c.Rows = append(c.Rows, fmt.Sprintf("stage %d", s))
	}
	for _, s := range steps {
		heat := 1.0
		if high > low {
			heat = (s.Frequency - low) / (high - low)
		}
		chunk := ""
		if s.Chunk > 0 {
			chunk = fmt.Sprintf(", chunk %d", s.Chunk)
		}
		c.Bars = append(c.Bars, report.GanttBar{Row: s.Stage, Start: s.Start, End: s.Start + s.Duration, Hotness: heat,
			Label: fmt.Sprintf("%.1s%d", strings.ToUpper(s.Kind), s.Microbatch),
			Title: fmt.Sprintf("%s of microbatch %d%s, %g MHz", s.Kind, s.Microbatch, chunk, s.Frequency)})
	}
	return c
}
