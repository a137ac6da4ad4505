package cooling

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// A small surrogate learns something, and what it chooses is never better than the
// proved optimum.
func TestSurrogate(t *testing.T) {
	a := hotspots(t, 4, 4, 6, rand.New(rand.NewPCG(8, 8)))
	examples, steps := 300, 200
	if *long {
		examples, steps = 1500, 1200
	}
	s, err := TrainSurrogate(context.Background(), a, examples, steps, 1)
	if err != nil {
		t.Fatal(err)
	}
	solution, expected, err := s.Optimise(context.Background(), a, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	exact, err := Optimise(context.Background(), a, Options{Time: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("trained in %v on %d examples: tiles %.3f K, peak %.3f K, power %.4f W; peak %.3f K (expected %.3f), exact %.3f K, before %.3f K",
		s.Training, s.Examples, s.Error, s.PeakError, s.Power, solution.After, expected, exact.After, exact.Before)
	if solution.After < exact.Bound {
		t.Errorf("%v K is below the bound of %v K", solution.After, exact.Bound)
	}
	most, highest := 4.0, (exact.Before+exact.After)/2
	if *long {
		most, highest = 1.6, (exact.Before+4*exact.After)/5
	}
	if !(s.Error < most) || solution.After > highest {
		t.Errorf("it has not learned: error %v K, peak %v K", s.Error, solution.After)
	}
	other := a.Power[:a.first]
	for i := range other {
		other[i] *= 0.8
	}
	b, err := a.WithPower(other)
	if err != nil {
		t.Fatal(err)
	}
	solution, _, err = s.Optimise(context.Background(), b, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	if b.Bare[0] > a.Bare[0] || !(solution.Before < exact.Before) {
		t.Errorf("with less power %v K before, %v K with all", solution.Before, exact.Before)
	}
	a.Tiles = a.Tiles[:15]
	if _, err := TrainSurrogate(context.Background(), a, 100, 10, 1); err == nil || !strings.Contains(err.Error(), "a tile for every row and column") {
		t.Errorf("tiles off the lattice: %v", err)
	}
}

// BenchmarkSurrogate sets the surrogate beside the exact way, by the cells of the grid
// and the coolers on it: training, errors on what was held out, a candidate's cost
// (by the network, by the reduced network of the ports, by all of the thermal
// network), an optimisation's cost and by how much its peak is above the exact one,
// over five other power maps of the same chip.
func BenchmarkSurrogate(b *testing.B) {
	for _, c := range []struct{ cells, tiles int }{{20, 4}, {64, 4}, {24, 8}} {
		b.Run(fmt.Sprintf("cells=%dx%d/coolers=%dx%d", c.cells, c.cells, c.tiles, c.tiles), func(b *testing.B) {
			for b.Loop() {
				compare(b, c.cells, c.tiles)
			}
		})
	}
}

func compare(b *testing.B, cells, tiles int) {
	random := rand.New(rand.NewPCG(8, uint64(cells*tiles)))
	m, power := hotGrid(b, cells, cells, 6, random)
	a, err := NewArray(m, Regular(tiles, tiles, m.Width, m.Height), power)
	if err != nil {
		b.Fatal(err)
	}
	s, err := TrainSurrogate(context.Background(), a, 1500, 1200, 1)
	if err != nil {
		b.Fatal(err)
	}
	const maps = 5
	var exact, learned, whole, reduced, network time.Duration
	above := 0.0
	for range maps {
		other, err := s.example(false, random)
		if err != nil {
			b.Fatal(err)
		}
		begin := time.Now()
		best, err := Optimise(context.Background(), other, Options{Time: time.Second})
		if err != nil {
			b.Fatal(err)
		}
		exact += time.Since(begin)
		begin = time.Now()
		found, _, err := s.Optimise(context.Background(), other, 0, 1)
		if err != nil {
			b.Fatal(err)
		}
		learned += time.Since(begin)
		network += time.Since(begin) / time.Duration(found.Evaluations)
		above += found.After - best.After
		begin = time.Now()
		if _, ok := other.solveAt(best.Currents); !ok {
			b.Fatal("no solution")
		}
		reduced += time.Since(begin)
		begin = time.Now()
		if _, err := factorise(a.Model.toward, a.Model.edges, a.Model.order); err != nil {
			b.Fatal(err)
		}
		whole += time.Since(begin)
	}
	ms := func(d time.Duration) float64 { return d.Seconds() * 1e3 / maps }
	b.ReportMetric(s.Training.Seconds(), "s-train")
	b.ReportMetric(s.Error, "K-tile")
	b.ReportMetric(s.PeakError, "K-peak")
	b.ReportMetric(s.Power, "W-tile")
	b.ReportMetric(ms(network), "ms/candidate-learned")
	b.ReportMetric(ms(reduced), "ms/candidate-reduced")
	b.ReportMetric(ms(whole), "ms/candidate-whole")
	b.ReportMetric(ms(exact), "ms/map-exact")
	b.ReportMetric(ms(learned), "ms/map-learned")
	b.ReportMetric(above/maps, "K-above-exact")
}
