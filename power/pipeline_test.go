package power

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/optimize/convex/lp"
	"pgregory.net/rapid"
)

var long = flag.Bool("long", false, "run the long tests")

func profile(t testing.TB) Profile {
	t.Helper()
	p, err := ReadProfile("testdata/profile_s4.csv")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// at returns the cost of a frontier at a time.
func at(frontier []Corner, time float64) float64 {
	for i := 1; i < len(frontier); i++ {
		a, b := frontier[i-1], frontier[i]
		if time <= b.Time {
			x := math.Max(0, (time-a.Time)/(b.Time-a.Time))
			return a.Cost*(1-x) + b.Cost*x
		}
	}
	return frontier[len(frontier)-1].Cost
}

// TestLinearProgram compares frontiers with optima of linear programs, and with
// a peer that rounds times.
func TestLinearProgram(t *testing.T) {
	for _, m := range []int{3, 8} {
		text, err := os.ReadFile(fmt.Sprintf("testdata/lp_s4_m%d.json", m))
		if err != nil {
			t.Fatal(err)
		}
		var want struct {
			Nodes                   int
			Fastest_s               float64
			Slowest_useful_s        float64
			Energy_all_at_maximum_j float64
			Saving_at_fastest       float64
			Points                  []struct{ Time_s, Cost_j, Energy_j float64 }
		}
		if err := json.Unmarshal(text, &want); err != nil {
			t.Fatal(err)
		}
		p, err := NewPipeline("1f1b", 4, 1, m)
		if err != nil {
			t.Fatal(err)
		}
		plan, err := Optimise(t.Context(), p, profile(t), 70, 0)
		if err != nil {
			t.Fatal(err)
		}
		f := plan.Frontier
		near := func(what string, got, want float64) {
			if math.Abs(got/want-1) > 1e-6 {
				t.Errorf("%d microbatches: %s %.9g, expected %.9g", m, what, got, want)
			}
		}
		if len(p.Instructions) != want.Nodes {
			t.Errorf("%d instructions, expected %d", len(p.Instructions), want.Nodes)
		}
		near("fastest", f[0].Time, want.Fastest_s)
		near("slowest", f[len(f)-1].Time, want.Slowest_useful_s)
		near("energy at maximum", plan.AllMaximum, want.Energy_all_at_maximum_j)
		near("saving at the fastest", 1-p.Energy(f[0], 70)/plan.AllMaximum, want.Saving_at_fastest)
		for _, q := range want.Points {
			near(fmt.Sprintf("cost at %g s", q.Time_s), at(f, q.Time_s), q.Cost_j)
			near(fmt.Sprintf("energy at %g s", q.Time_s), p.Energy(Corner{q.Time_s, at(f, q.Time_s)}, 70), q.Energy_j)
			plan, err := Optimise(t.Context(), p, profile(t), 70, q.Time_s)
			if err != nil {
				t.Fatal(err)
			}
			near("cost of the plan", plan.Cost, q.Cost_j)
			check(t, p, plan)
		}
		convex(t, f)
		late, err := Optimise(t.Context(), p, profile(t), 70, 1.5*want.Slowest_useful_s) // waits for a straggler
		if err != nil {
			t.Fatal(err)
		}
		near("deadline", late.Deadline, 1.5*want.Slowest_useful_s)
		near("cost beyond the slowest", late.Cost, f[len(f)-1].Cost)
		check(t, p, late)
		// A peer that fits exponentials and rounds times. Its fits lie below what was
		// measured at the fast end, so only the slow half can be compared.
		var peers int
		err = readCSV(fmt.Sprintf("testdata/frontier_s4_m%d_u0.01.csv", m), []string{"real_time", "cost"}, func(_ int, _ func(string) string, num func(string) (float64, error)) error {
			time, err := num("real_time")
			if err != nil {
				return err
			}
			cost, err := num("cost")
			if time < (f[0].Time+f[len(f)-1].Time)/2 {
				return err
			}
			if peers++; at(f, time) > cost {
				t.Errorf("at %g s %g J, a peer %g J", time, at(f, time), cost)
			}
			return err
		})
		if err != nil || peers == 0 {
			t.Error(peers, err)
		}
	}
}

// check tries whether a plan keeps the order and the deadline.
func check(t *testing.T, p *Pipeline, plan *PipelinePlan) {
	t.Helper()
	for i, s := range plan.Steps {
		if s.Start < -1e-9 || s.Start+s.Duration > plan.Deadline+1e-9 {
			t.Errorf("%+v is outside 0 to %g s", s, plan.Deadline)
		}
		for _, j := range p.After[i] {
			if before := plan.Steps[j]; before.Start+before.Duration > s.Start+1e-9 {
				t.Errorf("%+v begins before %+v ends", s, before)
			}
		}
	}
	if exact := p.Energy(Corner{plan.Deadline, plan.Cost}, 70); plan.Rounded < exact*(1-1e-9) || plan.Rounded > exact*1.1 {
		t.Errorf("rounded %g J, exactly %g J", plan.Rounded, exact)
	}
}

// chunked splits every stage of a profile into two chunks, of which the second is
// the longer.
func chunked(p Profile) Profile {
	split := Profile{}
	for o, points := range p {
		for chunk, part := range []float64{0.45, 0.55} {
			o.Chunk = chunk
			for _, q := range points {
				split[o] = append(split[o], Point{q.Frequency, q.Time * part, q.Energy * part})
			}
		}
	}
	return split
}

// TestInterleaved compares with optima of a linear program that another solver found
// (testdata/README.md).
func TestInterleaved(t *testing.T) {
	text, err := os.ReadFile("testdata/lp_interleaved_s4_m8_v2.json")
	if err != nil {
		t.Fatal(err)
	}
	var want struct {
		Nodes, Edges int
		Fastest_s    float64
		Points       []struct{ Time_s, Cost_j float64 }
	}
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	p, err := NewPipeline("interleaved", 4, 2, 8)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Instructions) != want.Nodes || p.Edges() != want.Edges {
		t.Errorf("%d instructions and %d edges, expected %d and %d", len(p.Instructions), p.Edges(), want.Nodes, want.Edges)
	}
	plan, err := Optimise(t.Context(), p, chunked(profile(t)), 70, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := plan.Frontier[0].Time; math.Abs(got/want.Fastest_s-1) > 1e-6 {
		t.Errorf("fastest %.9g s, expected %.9g", got, want.Fastest_s)
	}
	if len(want.Points) < 9 {
		t.Errorf("%d points", len(want.Points))
	}
	for _, q := range want.Points {
		if got := at(plan.Frontier, q.Time_s); math.Abs(got/q.Cost_j-1) > 1e-6 {
			t.Errorf("in %g s %.9g J, expected %.9g J", q.Time_s, got, q.Cost_j)
		}
	}
	check(t, p, plan)
	convex(t, plan.Frontier)
}

// TestMakespan compares schedules of equal stages with their published lengths: the
// work of a stage, and a bubble of stages − 1 forwards and backwards, which chunks
// divide by their number.
func TestMakespan(t *testing.T) {
	const forward, backward = 0.25, 0.5 // of a chunk
	for _, c := range []struct {
		schedule                     string
		stages, chunks, microbatches int
	}{
		{"gpipe", 4, 1, 7}, {"1f1b", 4, 1, 7}, {"1f1b", 4, 1, 2}, {"1f1b", 1, 1, 3}, {"gpipe", 3, 1, 1},
		{"interleaved", 4, 2, 4}, {"interleaved", 4, 2, 16}, {"interleaved", 4, 3, 8}, {"interleaved", 3, 4, 30}, {"interleaved", 1, 2, 5}, {"interleaved", 8, 2, 64},
	} {
		p, err := NewPipeline(c.schedule, c.stages, c.chunks, c.microbatches)
		if err != nil {
			t.Fatal(err)
		}
		order, err := p.order()
		if err != nil {
			t.Errorf("%+v: %v", c, err)
			continue
		}
		durations := make([]float64, len(p.Instructions))
		seen := map[Instruction]bool{}
		for i, in := range p.Instructions {
			if seen[in] {
				t.Errorf("%+v: %+v is there twice", c, in)
			}
			seen[in] = true
			durations[i] = forward
			if in.Kind == "backward" {
				durations[i] = backward
				in.Kind = "forward"
				if !seen[in] {
					t.Errorf("%+v: the backward of %+v comes first", c, in)
				}
			}
		}
		if want := 2 * c.stages * c.chunks * c.microbatches; len(seen) != want {
			t.Errorf("%+v: %d instructions, expected %d", c, len(seen), want)
		}
		_, got := p.earliest(order, durations)
		if want := (forward + backward) * float64(c.chunks*c.microbatches+c.stages-1); math.Abs(got-want) > 1e-9 {
			t.Errorf("%+v: %g s, expected %g s", c, got, want)
		}
	}
}

// TestAnyGraph compares with a linear program on random graphs.
func TestAnyGraph(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0))
		ties := rapid.Bool().Draw(rt, "ties") // many things happen at once
		n := 1 + r.IntN(7)
		var g Graph
		for i := range n {
			var times, costs []float64
			for range 1 + r.IntN(4) {
				if ties {
					times, costs = append(times, float64(1+r.IntN(4))), append(costs, float64(r.IntN(6)))
				} else {
					times, costs = append(times, 0.1+r.Float64()), append(costs, 5*r.Float64())
				}
			}
			c, err := Hull(times, costs)
			if err != nil {
				rt.Fatal(err)
			}
			g.Costs = append(g.Costs, c)
			var after []int
			for j := range i {
				if r.IntN(2) == 0 {
					after = append(after, j)
				}
			}
			g.After = append(g.After, after)
		}
		f, _, _, err := Solve(context.Background(), g, 0, 0)
		if err != nil {
			rt.Fatal(err)
		}
		for k := range 4 {
			deadline := f[0].Time + (f[len(f)-1].Time-f[0].Time)*(0.01+0.33*float64(k))
			want, err := program(g, deadline)
			if err != nil {
				rt.Fatalf("linear program: %v", err)
			}
			if got := at(f, deadline); math.Abs(got-want) > 1e-6*(1+math.Abs(want)) {
				rt.Fatalf("in %g s %.9g J, by linear program %.9g J\n%+v\n%+v", deadline, got, want, g, f)
			}
		}
	})
}

// program solves min Σ c_i, c_i above each piece of the hull, by the simplex method.
func program(g Graph, deadline float64) (float64, error) {
	n := len(g.Costs)
	// x: start, duration, cost of each, shifted to be positive.
	low := 0.0
	for _, c := range g.Costs {
		low = math.Min(low, c.Cost[len(c.Cost)-1])
	}
	var rows [][]float64
	var right []float64
	add := func(b float64, terms ...float64) { // pairs: index, factor
		row := make([]float64, 3*n)
		for i := 0; i < len(terms); i += 2 {
			row[int(terms[i])] += terms[i+1]
		}
		rows, right = append(rows, row), append(right, b)
	}
	objective := make([]float64, 3*n)
	for i, c := range g.Costs {
		objective[3*i+2] = 1
		s, d, k := float64(3*i), float64(3*i+1), float64(3*i+2)
		add(deadline, s, 1, d, 1)
		add(-c.Time[0], d, -1)
		add(-(c.Cost[len(c.Cost)-1] - low), k, -1)
		for p := 1; p < len(c.Time); p++ {
			m := c.slope(p)
			add(-(c.Cost[p] + m*c.Time[p] - low), k, -1, d, -m)
		}
		for _, j := range g.After[i] {
			add(0, float64(3*j), 1, float64(3*j+1), 1, s, -1)
		}
	}
	G := mat.NewDense(len(rows), 3*n, nil)
	for i, row := range rows {
		G.SetRow(i, row)
	}
	// With slacks: G x + s = h.
	c := append(objective, make([]float64, len(rows))...)
	A := mat.NewDense(len(rows), 3*n+len(rows), nil)
	for i, row := range rows {
		for j, v := range row {
			A.Set(i, j, v)
		}
		A.Set(i, 3*n+i, 1)
	}
	value, _, err := lp.Simplex(c, A, right, 1e-10, nil)
	return value + low*float64(n), err
}

func TestPipelineRefuses(t *testing.T) {
	p, err := NewPipeline("1f1b", 4, 1, 3)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Optimise(t.Context(), p, profile(t), 70, 1); err == nil || !strings.Contains(err.Error(), "0.6375 s more") {
		t.Errorf("%v", err)
	}
	loop := &Pipeline{Stages: 1, Instructions: make([]Instruction, 3), After: [][]int{{}, {2, 0}, {1}}}
	for i := range loop.Instructions {
		loop.Instructions[i].Kind = "forward"
	}
	if _, err := Optimise(t.Context(), loop, profile(t), 70, 0); err == nil || !strings.Contains(err.Error(), "1 after 2 after 1") {
		t.Errorf("%v", err)
	}
	if _, err := Optimise(t.Context(), p, Profile{}, 70, 0); err == nil || !strings.Contains(err.Error(), "no forward of stage 0") {
		t.Errorf("%v", err)
	}
	if _, _, _, err := Solve(t.Context(), Graph{Costs: []Cost{{[]float64{1}, []float64{1}}, {[]float64{1}, []float64{1}}}, After: [][]int{{1}, {0}}}, 0, 0); err == nil || !strings.Contains(err.Error(), "comes after itself") {
		t.Errorf("%v", err)
	}
	for _, c := range []struct {
		schedule       string
		stages, chunks int
	}{{"other", 2, 1}, {"1f1b", 0, 1}, {"1f1b", 3, 2}, {"interleaved", 3, 1}, {"interleaved", 2, 2}} {
		if _, err := NewPipeline(c.schedule, c.stages, c.chunks, 3); err == nil {
			t.Errorf("%+v was taken", c)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Optimise(ctx, p, profile(t), 70, 0); err == nil {
		t.Error("it went on")
	}
}

func FuzzPipeline(f *testing.F) {
	f.Add(`{"stages": 1, "instructions": [{"instruction": "forward", "after": []}, {"instruction": "backward", "after": [0, 0]}]}`)
	f.Add(`{"stages": 1, "instructions": [{"after": [1]}, {"after": [0]}]}`)
	f.Add(`{"stages": -1}`)
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parsePipeline([]byte(text))
		if err != nil {
			return
		}
		g := Graph{After: p.After}
		for range p.Instructions {
			g.Costs = append(g.Costs, Cost{[]float64{1, 2}, []float64{2, 1}})
		}
		if _, _, _, err := Solve(t.Context(), g, 0, 0); err != nil && len(p.Instructions) < 1000 {
			t.Errorf("a graph that was taken cannot be solved: %v", err)
		}
	})
}

func BenchmarkFrontier(b *testing.B) {
	p := profile(b)
	for _, m := range []int{8, 32} {
		b.Run(fmt.Sprintf("4x%d", m), func(b *testing.B) {
			line, err := NewPipeline("1f1b", 4, 1, m)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if _, err := Optimise(context.Background(), line, p, 70, 0); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestLarge solves a pipeline of 32 stages and 128 microbatches, and logs how long
// that takes.
func TestLarge(t *testing.T) {
	if !*long {
		t.Skip("needs -long")
	}
	p := profile(t)
	for s := 4; s < 32; s++ { // stages of slightly different lengths
		for _, kind := range []string{"forward", "backward"} {
			o := Operation{Stage: s, Kind: kind}
			for _, q := range p[Operation{Stage: s % 4, Kind: kind}] {
				x := 1 + 0.01*float64(s)
				p[o] = append(p[o], Point{q.Frequency, q.Time * x, q.Energy * x})
			}
		}
	}
	line, err := NewPipeline("1f1b", 32, 1, 128)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	plan, err := Optimise(t.Context(), line, p, 70, 70)
	if err != nil {
		t.Fatal(err)
	}
	f := plan.Frontier
	t.Logf("%d instructions, %d corners in %.1f s", len(line.Instructions), len(f), time.Since(start).Seconds())
	check(t, line, plan)
	if got := at(f, plan.Deadline); math.Abs(got/plan.Cost-1) > 1e-9 {
		t.Errorf("the plan costs %.12g J, on the frontier %.12g J", plan.Cost, got)
	}
	if math.Abs(plan.MaximumTime/f[0].Time-1) > 1e-9 {
		t.Errorf("at maximum it takes %.12g s, at the fastest %.12g s", plan.MaximumTime, f[0].Time)
	}
	convex(t, f)
}

// convex tries whether the frontier falls ever more slowly.
func convex(t *testing.T, f []Corner) {
	t.Helper()
	slope := func(i int) float64 { return (f[i].Cost - f[i-1].Cost) / (f[i].Time - f[i-1].Time) }
	for i := 2; i < len(f); i++ {
		// Times are good to 1e-11 of the whole.
		if rounding := 1e-10 * f[0].Cost / math.Min(f[i].Time-f[i-1].Time, f[i-1].Time-f[i-2].Time); slope(i) < slope(i-1)-1e-6-rounding || slope(i) > 0 {
			t.Errorf("not convex at %g s: %g after %g", f[i].Time, slope(i), slope(i-1))
		}
	}
}
