package ising

import (
	"math/rand/v2"
	"testing"
)

// TestClusterGeometry holds the words and runs of Swendsen-Wang to the plain
// neighbours of the lattice: where all friends have bonds they turn together,
// and in a strong field every cluster ends up.
func TestClusterGeometry(t *testing.T) {
	for _, lattice := range []Lattice{Square, Triangular, Honeycomb} {
		for _, size := range []int{4, 10, 32, 64, 66, 128, 130} {
			for _, coupling := range []float64{1, -1} {
				m := Model{lattice, size, coupling, 0}
				c := newClusters(m, 0.01, clusterReplicas(size), rand.NewPCG(1, uint64(size)))
				c.fill(true)
				before := spinsOf(c)
				checkTally(t, c, before)
				c.sweep(1, 1)
				turned := checkTogether(t, c, before, spinsOf(c))
				if all := c.replicas * m.sites(); turned < 1 || turned >= all {
					t.Errorf("%+v: %d of %d spins turned", m, turned, all)
				}
				if coupling < 0 {
					continue
				}
				c.model.Field = 5
				c.sweep(1, 1)
				for _, spins := range spinsOf(c) {
					for i, s := range spins {
						if s < 0 {
							t.Fatalf("%+v: spin %d is down in a strong field", m, i)
						}
					}
				}
			}
		}
	}
}

func spinsOf(c *clusters) (replicas [][]int8) {
	size := c.model.Size
	for r := range c.replicas {
		spins := make([]int8, size*size)
		for i := range spins {
			spins[i] = c.spin(i%size, i/size, r)
		}
		replicas = append(replicas, spins)
	}
	return replicas
}

// checkTally compares the sums by words with those of the general path.
func checkTally(t *testing.T, c *clusters, replicas [][]int8) {
	t.Helper()
	make1 := func(n int) sums { return sums{make([]int64, n), make([]int64, n), make([]int64, n)} }
	got, want := make1(c.replicas), make1(1)
	c.tally(got, 1)
	g := newGraph(c.model, 1, Metropolis, rand.NewPCG(1, 1))
	for r, spins := range replicas {
		copy(g.spins, spins)
		g.tally(want, 1)
		if got.magnetisation[r] != want.magnetisation[0] || got.staggered[r] != want.staggered[0] || got.bonds[r] != want.bonds[0] {
			t.Fatalf("%+v, replica %d: sums %+v, expected %+v", c.model, r, got, want)
		}
	}
}

// checkTogether returns how many spins turned, if friends did so together.
func checkTogether(t *testing.T, c *clusters, before, after [][]int8) (turned int) {
	t.Helper()
	var out [6]uint32
	size, sign := c.model.Size, int8(c.model.Coupling)
	for r := range before {
		for i, s := range before[r] {
			if after[r][i] != s {
				turned++
			}
			for _, j := range out[:c.model.neighbours(i%size, i/size, &out)] {
				if s*before[r][j] == sign && (after[r][i] == s) != (after[r][j] == before[r][j]) {
					t.Fatalf("%+v, replica %d: of the friends %d and %d one turned", c.model, r, i, j)
				}
			}
		}
	}
	return turned
}
