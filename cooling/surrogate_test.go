package cooling

import (
	"context"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// A small surrogate learns something, and what it chooses is never better than the
// proved optimum.
func TestSurrogate(t *testing.T) {
	a := hotspots(t, 4, 4, 6, rand.New(rand.NewPCG(8, 8)))
	s, err := TrainSurrogate(context.Background(), a, 800, 600, 1)
	if err != nil {
		t.Fatal(err)
	}
	solution, expected, err := s.Optimise(context.Background(), 0, 1)
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
	if !(s.Error < 4) || solution.After > (2*exact.Before+3*exact.After)/5 {
		t.Errorf("it has not learned: error %v K, peak %v K", s.Error, solution.After)
	}
	a.Tiles = a.Tiles[:15]
	if _, err := TrainSurrogate(context.Background(), a, 100, 10, 1); err == nil || !strings.Contains(err.Error(), "a tile for every row and column") {
		t.Errorf("tiles off the lattice: %v", err)
	}
}
