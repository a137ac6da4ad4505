package power

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
)

// A Point is an instruction measured at a frequency.
type Point struct {
	Frequency float64 // MHz
	Time      float64 // s
	Energy    float64 // J
}

// An Operation is what a stage does to a microbatch: "forward" or "backward", of
// one of its chunks where a stage holds several parts of the model.
type Operation struct {
	Stage int    `json:"stage"`
	Chunk int    `json:"chunk"`
	Kind  string `json:"instruction"`
}

func (o Operation) String() string {
	if o.Chunk > 0 {
		return fmt.Sprintf("%s of stage %d, chunk %d", o.Kind, o.Stage, o.Chunk)
	}
	return fmt.Sprintf("%s of stage %d", o.Kind, o.Stage)
}

// A Profile holds the measured points of every operation, the fastest first.
type Profile map[Operation][]Point

// ReadProfile reads a profile: stage, instruction, frequency, time, energy, and chunk
// where stages hold several parts of the model.
func ReadProfile(path string) (Profile, error) {
	p := Profile{}
	columns := []string{"stage", "instruction", "frequency", "time", "energy"}
	err := readCSV(path, columns, func(_ int, f func(string) string, num func(string) (float64, error)) error {
		o := Operation{Kind: f("instruction")}
		var err error
		if o.Stage, err = place("stage", num); err != nil {
			return err
		}
		if f("chunk") != "" {
			if o.Chunk, err = place("chunk", num); err != nil {
				return err
			}
		}
		var q Point
		for _, field := range []struct {
			name string
			to   *float64
		}{{"frequency", &q.Frequency}, {"time", &q.Time}, {"energy", &q.Energy}} {
			x, err := num(field.name)
			if err != nil {
				return err
			}
			if !(x > 0) || math.IsInf(x, 0) {
				return fmt.Errorf("%s: expected a positive number, got %g", field.name, x)
			}
			*field.to = x
		}
		for _, before := range p[o] {
			if before.Frequency == q.Frequency {
				return fmt.Errorf("%v at %g MHz is there twice", o, q.Frequency)
			}
		}
		p[o] = append(p[o], q)
		return nil
	})
	for _, points := range p {
		slices.SortFunc(points, func(a, b Point) int { return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(a.Energy, b.Energy)) })
	}
	return p, err
}

// place reads the number of a stage or chunk.
func place(column string, num func(string) (float64, error)) (int, error) {
	x, err := num(column)
	if err == nil && !(x >= 0 && x < maxStages && x == math.Trunc(x)) {
		err = fmt.Errorf("%s: expected a whole number from 0 to %d, got %g", column, maxStages-1, x)
	}
	return int(x), err
}

// Chunks is the number of parts of the model that a stage holds.
func (p Profile) Chunks() int {
	n := 0
	for o := range p {
		n = max(n, o.Chunk+1)
	}
	return n
}

// points returns the measured points of an operation.
func (p Profile) points(o Operation) ([]Point, error) {
	if len(p[o]) == 0 {
		return nil, fmt.Errorf("the profile has no %v", o)
	}
	return p[o], nil
}

// A PipelinePlan is the frontier of a pipeline, and what to do for a deadline.
type PipelinePlan struct {
	Frontier    []Corner // cost: energy less what waiting draws meanwhile
	AllMaximum  float64  // J, every instruction at its fastest point
	MaximumTime float64  // s, of that
	Deadline    float64  // s, which the plan meets; what is left of it is spent waiting
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
// is an error that says by how much. If ctx ends, the plan has the slow end of the
// frontier and no steps, and comes with the context's error.
func Optimise(ctx context.Context, p *Pipeline, profile Profile, idle, deadline float64) (*PipelinePlan, error) {
	if !(idle >= 0) || math.IsInf(idle, 0) {
		return nil, fmt.Errorf("idle power %g W: expected a number from 0", idle)
	}
	g, err := p.graph(profile, idle)
	if err != nil {
		return nil, err
	}
	order, err := p.order()
	if err != nil {
		return nil, err
	}
	plan := &PipelinePlan{}
	fastest := make([]float64, len(p.Instructions))
	for i, in := range p.Instructions {
		q := profile[in.Operation][0]
		fastest[i] = q.Time
		plan.AllMaximum += q.Energy - idle*q.Time
		plan.Baseline = append(plan.Baseline, Step{Instruction: in, Frequency: q.Frequency, Duration: q.Time})
	}
	early, makespan := p.earliest(order, fastest)
	for i := range early {
		plan.Baseline[i].Start = early[i]
	}
	plan.MaximumTime = makespan
	plan.AllMaximum += idle * float64(p.Stages) * makespan
	if deadline > 0 && deadline < makespan*(1-1e-9) {
		return nil, fmt.Errorf("deadline %.6g s: the pipeline takes at least %.6g s, %.6g s more", deadline, makespan, makespan-deadline)
	}
	frontier, starts, ends, err := Solve(ctx, g, deadline, idle*float64(p.Stages))
	plan.Frontier = frontier
	if err != nil {
		return plan, err
	}
	plan.Deadline = slices.Max(ends)
	if deadline > plan.Deadline { // there is nothing more to be saved by going slower
		plan.Deadline = deadline
	}
	plan.steps(p, profile, g, starts, ends, idle)
	return plan, nil
}

// graph is the pipeline with what its instructions cost.
func (p *Pipeline) graph(profile Profile, idle float64) (Graph, error) {
	g := Graph{After: p.After}
	hulls := map[Operation]Cost{}
	for _, in := range p.Instructions {
		hull, ok := hulls[in.Operation]
		if !ok {
			points, err := profile.points(in.Operation)
			if err != nil {
				return g, err
			}
			var times, costs []float64
			for _, q := range points {
				times, costs = append(times, q.Time), append(costs, q.Energy-idle*q.Time)
			}
			if hull, err = Hull(times, costs); err != nil {
				return g, fmt.Errorf("%v: %w", in.Operation, err)
			}
			hulls[in.Operation] = hull
		}
		g.Costs = append(g.Costs, hull)
	}
	return g, nil
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
	plan.Cost = costOf(g, starts, ends)
	durations := make([]float64, len(p.Instructions))
	rounded := 0.0
	for i, in := range p.Instructions {
		last := g.Costs[i].Time[len(g.Costs[i].Time)-1]
		durations[i] = math.Min(ends[i]-starts[i], last)
		points := profile[in.Operation]
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

// order lists the instructions so that each comes after those that it waits for.
func (p *Pipeline) order() ([]int, error) {
	n := len(p.Instructions)
	waiting, before := make([]int, n), make([][]int, n)
	for i, after := range p.After {
		for _, j := range after {
			if j < 0 || j >= n {
				return nil, fmt.Errorf("instruction %d comes after %d: expected 0 to %d", i, j, n-1)
			}
			before[j] = append(before[j], i)
		}
		waiting[i] = len(after)
	}
	var order []int
	for i, w := range waiting {
		if w == 0 {
			order = append(order, i)
		}
	}
	for k := 0; k < len(order); k++ {
		for _, i := range before[order[k]] {
			if waiting[i]--; waiting[i] == 0 {
				order = append(order, i)
			}
		}
	}
	if len(order) < n {
		return nil, fmt.Errorf("instructions wait for each other: %s", p.cycle(waiting))
	}
	return order, nil
}

// cycle names instructions that wait for each other; those that wait at all include
// all that do.
func (p *Pipeline) cycle(waiting []int) string {
	seen := map[int]int{}
	i := slices.IndexFunc(waiting, func(w int) bool { return w > 0 })
	var path []int
	for {
		if at, ok := seen[i]; ok {
			path = append(path[at:], i)
			break
		}
		seen[i] = len(path)
		path = append(path, i)
		i = p.After[i][slices.IndexFunc(p.After[i], func(j int) bool { return waiting[j] > 0 })]
	}
	if len(path) > 8 {
		return fmt.Sprintf("%d after %d, and so on around %d instructions", path[0], path[1], len(path)-1)
	}
	text := fmt.Sprint(path[0])
	for _, i := range path[1:] {
		text += fmt.Sprintf(" after %d", i)
	}
	return text
}

// earliest returns when every instruction begins at the earliest, and the makespan.
func (p *Pipeline) earliest(order []int, durations []float64) (starts []float64, makespan float64) {
	starts = make([]float64, len(durations))
	for _, i := range order {
		for _, j := range p.After[i] {
			starts[i] = math.Max(starts[i], starts[j]+durations[j])
		}
		makespan = math.Max(makespan, starts[i]+durations[i])
	}
	return starts, makespan
}
