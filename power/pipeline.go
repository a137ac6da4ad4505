package power

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
)

// A Point is an instruction measured at a frequency.
type Point struct {
	Frequency float64 // MHz
	Time      float64 // s
	Energy    float64 // J
}

// A Profile holds the measured points of every stage and instruction ("forward",
// "backward"), the fastest first.
type Profile map[string]map[int][]Point

// ReadProfile reads a profile: stage, instruction, frequency, time, energy.
func ReadProfile(path string) (Profile, error) {
	p := Profile{}
	err := readCSV(path, []string{"stage", "instruction", "frequency", "time", "energy"}, func(line int, f func(string) string, num func(string) (float64, error)) error {
		var v [4]float64
		for i, name := range []string{"stage", "frequency", "time", "energy"} {
			x, err := num(name)
			if err != nil {
				return err
			}
			if math.IsNaN(x) || math.IsInf(x, 0) || x < 0 || i > 0 && x == 0 {
				return fmt.Errorf("%s: expected a positive number, got %g", name, x)
			}
			v[i] = x
		}
		stage, instruction := int(v[0]), f("instruction")
		if float64(stage) != v[0] || stage > 1<<16 {
			return fmt.Errorf("stage: expected a number from 0, got %g", v[0])
		}
		if p[instruction] == nil {
			p[instruction] = map[int][]Point{}
		}
		for _, q := range p[instruction][stage] {
			if q.Frequency == v[1] {
				return fmt.Errorf("stage %d, %s at %g MHz is there twice", stage, instruction, v[1])
			}
		}
		p[instruction][stage] = append(p[instruction][stage], Point{v[1], v[2], v[3]})
		return nil
	})
	for _, stages := range p {
		for _, points := range stages {
			slices.SortFunc(points, func(a, b Point) int {
				if a.Time < b.Time {
					return -1
				}
				return 1
			})
		}
	}
	return p, err
}

// An Instruction is one activity of a pipeline.
type Instruction struct {
	Stage      int    `json:"stage"`
	Microbatch int    `json:"microbatch"`
	Kind       string `json:"instruction"`
}

// A Pipeline is the instructions of one training step, and which wait for which.
type Pipeline struct {
	Stages       int
	Instructions []Instruction
	After        [][]int
}

// NewPipeline returns the graph of a schedule: "1f1b" (one forward, one backward, with
// as many microbatches in flight as stages follow) or "gpipe" (all forward, then all
// backward). A stage does its instructions in order, each after those of its
// neighbours that it needs.
func NewPipeline(schedule string, stages, microbatches int) (*Pipeline, error) {
	if stages < 1 || stages > 1024 || microbatches < 1 || microbatches > 1<<16 {
		return nil, fmt.Errorf("pipeline: expected 1 to 1024 stages and 1 to 65536 microbatches, got %d and %d", stages, microbatches)
	}
	p := &Pipeline{Stages: stages}
	index := map[Instruction]int{}
	for s := range stages {
		last := -1
		add := func(kind string, m int) {
			i := len(p.Instructions)
			in := Instruction{s, m, kind}
			index[in] = i
			p.Instructions = append(p.Instructions, in)
			var after []int
			if last >= 0 {
				after = append(after, last)
			}
			p.After = append(p.After, after)
			last = i
		}
		warm := microbatches
		switch schedule {
		case "1f1b":
			warm = min(microbatches, stages-1-s)
		case "gpipe":
		default:
			return nil, fmt.Errorf("pipeline: schedule %q: expected 1f1b or gpipe", schedule)
		}
		for m := range warm {
			add("forward", m)
		}
		for m := warm; m < microbatches; m++ {
			add("forward", m)
			add("backward", m-warm)
		}
		for m := microbatches - warm; m < microbatches; m++ {
			add("backward", m)
		}
	}
	for i, in := range p.Instructions {
		neighbour := Instruction{in.Stage - 1, in.Microbatch, in.Kind}
		if in.Kind == "backward" {
			neighbour.Stage = in.Stage + 1
		}
		if j, ok := index[neighbour]; ok {
			p.After[i] = append(p.After[i], j)
		}
	}
	return p, nil
}

// ReadPipeline reads a graph of instructions: {"stages": n, "instructions": [{"stage",
// "microbatch", "instruction", "after": [indices]}]}.
func ReadPipeline(path string) (*Pipeline, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading pipeline: %w", err)
	}
	var d struct {
		Stages       int `json:"stages"`
		Instructions []struct {
			Instruction
			After []int `json:"after"`
		} `json:"instructions"`
	}
	if err := json.Unmarshal(text, &d); err != nil {
		return nil, fmt.Errorf("reading pipeline %s: %w", path, err)
	}
	p := &Pipeline{Stages: d.Stages}
	for i, in := range d.Instructions {
		if in.Stage < 0 || in.Stage >= d.Stages {
			return nil, fmt.Errorf("reading pipeline %s: instruction %d: stage %d, expected 0 to %d", path, i, in.Stage, d.Stages-1)
		}
		p.Instructions, p.After = append(p.Instructions, in.Instruction), append(p.After, in.After)
	}
	if len(p.Instructions) == 0 {
		return nil, fmt.Errorf("reading pipeline %s: expected instructions, got none", path)
	}
	return p, nil
}

// Edges counts what waits for what.
func (p *Pipeline) Edges() int {
	n := 0
	for _, a := range p.After {
		n += len(a)
	}
	return n
}

// points returns the measured points of an instruction.
func (p Profile) points(in Instruction) ([]Point, error) {
	points := p[in.Kind][in.Stage]
	if len(points) == 0 {
		return nil, fmt.Errorf("the profile has no %s of stage %d", in.Kind, in.Stage)
	}
	return points, nil
}

// A PipelinePlan is the frontier of a pipeline, and what to do for a deadline.
type PipelinePlan struct {
	Frontier    []Corner // cost: energy less what waiting draws meanwhile
	AllMaximum  float64  // J, every instruction at its fastest point
	MaximumTime float64  // s, of that
	Deadline    float64  // s
	Cost        float64  // J, of the plan
	Steps       []Step   // the plan, by instruction
	Baseline    []Step   // every instruction at its fastest point
	Rounded     float64  // J, energy of the plan with every instruction at the slowest measured frequency that is no slower than planned
}

// A Step is an instruction in time.
type Step struct {
	Instruction
	Frequency float64 `json:"frequency"` // MHz, measured; no slower than Duration
	Start     float64 `json:"start_s"`
	Duration  float64 `json:"duration_s"`
}

// Energy is what a frontier's corner draws with all stages waiting in between.
func (p *Pipeline) Energy(c Corner, idle float64) float64 {
	return c.Cost + idle*float64(p.Stages)*c.Time
}

// Optimise finds the exact time-energy frontier of a pipeline, in which an instruction
// costs its energy less the power of waiting, idle (W), for its time, on the lower
// hull of its measured points, and the plan of least energy for a deadline (s; 0
// for the fastest, NaN for the least energy of all). A deadline that cannot be met
// is an error that says by how much.
func Optimise(ctx context.Context, p *Pipeline, profile Profile, idle, deadline float64) (*PipelinePlan, error) {
	if !(idle >= 0) || math.IsInf(idle, 0) {
		return nil, fmt.Errorf("idle power %g W: expected a number from 0", idle)
	}
	g := Graph{After: p.After}
	fastest := make([]float64, len(p.Instructions))
	plan := &PipelinePlan{}
	hulls := map[string]map[int]Cost{"": {}}
	for i, in := range p.Instructions {
		points, err := profile.points(in)
		if err != nil {
			return nil, err
		}
		hull, ok := hulls[in.Kind][in.Stage]
		if !ok {
			var times, costs []float64
			for _, q := range points {
				times, costs = append(times, q.Time), append(costs, q.Energy-idle*q.Time)
			}
			if hull, err = Hull(times, costs); err != nil {
				return nil, fmt.Errorf("stage %d, %s: %w", in.Stage, in.Kind, err)
			}
			if hulls[in.Kind] == nil {
				hulls[in.Kind] = map[int]Cost{}
			}
			hulls[in.Kind][in.Stage] = hull
		}
		g.Costs = append(g.Costs, hull)
		fastest[i] = points[0].Time
		plan.AllMaximum += points[0].Energy - idle*points[0].Time
	}
	frontier, starts, ends, err := Solve(ctx, g, deadline, idle*float64(p.Stages))
	if err != nil {
		return nil, err
	}
	plan.Frontier = frontier
	early, makespan := p.earliest(fastest)
	plan.MaximumTime = makespan
	plan.AllMaximum += idle * float64(p.Stages) * makespan
	for i, in := range p.Instructions {
		points, _ := profile.points(in)
		plan.Baseline = append(plan.Baseline, Step{in, points[0].Frequency, early[i], fastest[i]})
	}
	if deadline > 0 && deadline < frontier[0].Time*(1-1e-9) {
		return plan, fmt.Errorf("deadline %.6g s: the pipeline takes at least %.6g s, %.6g s more", deadline, frontier[0].Time, frontier[0].Time-deadline)
	}
	plan.steps(p, profile, g, starts, ends, idle)
	return plan, nil
}

func costOf(g Graph, starts, ends []float64) float64 {
	sum := 0.0
	for i, c := range g.Costs {
		sum += c.At(ends[i] - starts[i])
	}
	return sum
}

// steps fills in the plan.
func (plan *PipelinePlan) steps(p *Pipeline, profile Profile, g Graph, starts, ends []float64, idle float64) {
	plan.Deadline, plan.Cost = slices.Max(ends), costOf(g, starts, ends)
	durations := make([]float64, len(p.Instructions))
	rounded := 0.0
	for i, in := range p.Instructions {
		last := g.Costs[i].Time[len(g.Costs[i].Time)-1]
		durations[i] = math.Min(ends[i]-starts[i], last)
		points, _ := profile.points(in)
		at := 0 // the cheapest that is fast enough: real hardware has no frequencies in between
		for k, q := range points {
			if q.Time <= durations[i]*(1+1e-9) && q.Energy-idle*q.Time <= points[at].Energy-idle*points[at].Time {
				at = k
			}
		}
		rounded += points[at].Energy - idle*points[at].Time
		plan.Steps = append(plan.Steps, Step{in, points[at].Frequency, starts[i], durations[i]})
	}
	plan.Rounded = rounded + idle*float64(p.Stages)*plan.Deadline
}

// earliest returns when every instruction begins at the earliest, and the makespan.
func (p *Pipeline) earliest(durations []float64) (starts []float64, makespan float64) {
	starts = make([]float64, len(durations))
	state := make([]int, len(durations))
	var visit func(i int) float64
	visit = func(i int) float64 { // its end
		if state[i] == 0 {
			state[i] = 1
			for _, j := range p.After[i] {
				starts[i] = math.Max(starts[i], visit(j))
			}
		}
		return starts[i] + durations[i]
	}
	for i := range durations {
		makespan = math.Max(makespan, visit(i))
	}
	return starts, makespan
}
