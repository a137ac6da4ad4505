package sampler

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// NUTS is the no-U-turn sampler (Hoffman and Gelman 2014) in its multinomial
// form with the generalised criterion and the checks between subtrees
// (Betancourt 2017), as Stan has it.
type NUTS struct {
	StepSize float64 // tuned to 80 % acceptance by the warm-up of Run
	MaxDepth int     // most doublings; 0 means 10
	Metric   *Metric // nil: unit masses; tuned by the warm-up of Run
}

// Init implements [Kernel].
func (k NUTS) Init(d Density, theta []float64, temperature float64, rng *rand.Rand) (*State, error) {
	if k.MaxDepth < 0 || k.MaxDepth > 30 {
		return nil, fmt.Errorf("NUTS: expected a depth from 1 to 30 (0: 10), got %d", k.MaxDepth)
	}
	return beginHamiltonian("NUTS", k.StepSize, k.Metric, d, theta, temperature)
}

func (k NUTS) maxDepth() int {
	if k.MaxDepth == 0 {
		return 10
	}
	return k.MaxDepth
}

// A tree is a stretch of trajectory: the momenta and velocities at its two
// ends, the sum of its momenta, its total weight, and one point drawn from it in
// proportion to the weights.
type tree struct {
	pLeft, vLeft, pRight, vRight []float64
	rho                          []float64
	logWeight                    float64
	proposal                     phase
}

func (w *workspace) releaseTree(t tree) {
	for _, v := range [][]float64{t.pLeft, t.vLeft, t.pRight, t.vRight, t.rho} {
		w.put(v)
	}
	w.release(t.proposal)
}

// A walk is the state of one NUTS step.
type walk struct {
	d           Density
	m           *Metric
	w           *workspace
	rng         *rand.Rand
	step        float64
	temperature float64
	start       float64 // total energy at the beginning
	info        Info
	sumAccept   float64
}

// leaf makes a tree of the one point z.
func (u *walk) leaf(z *phase) tree {
	w := u.w
	return tree{
		pLeft: w.copyOf(z.p), vLeft: w.copyOf(z.velocity), pRight: w.copyOf(z.p), vRight: w.copyOf(z.velocity),
		rho: w.copyOf(z.p), logWeight: (u.start - z.hamiltonian()) / u.temperature,
		proposal: phase{w.copyOf(z.theta), w.copyOf(z.p), w.copyOf(z.gradient), w.copyOf(z.velocity), z.energy},
	}
}

// extend grows a tree of 2^depth points from z in the given direction, moving z
// to its far end. It reports false when the trajectory diverged or turned.
func (u *walk) extend(z *phase, depth int, direction float64) (tree, bool) {
	if depth == 0 {
		z.leapfrog(u.d, u.m, direction*u.step)
		u.info.Gradients++
		loss := (z.hamiltonian() - u.start) / u.temperature
		u.sumAccept += acceptance(-loss)
		if !(loss < maxEnergyError) {
			u.info.Divergent = true
			return tree{}, false
		}
		return u.leaf(z), true
	}
	inner, ok := u.extend(z, depth-1, direction)
	if !ok {
		return tree{}, false
	}
	outer, ok := u.extend(z, depth-1, direction)
	if !ok {
		u.w.releaseTree(inner)
		return tree{}, false
	}
	// Within a subtree the point is drawn in proportion to the weights.
	total := logSum(inner.logWeight, outer.logWeight)
	if u.rng.Float64() < math.Exp(outer.logWeight-total) {
		inner.proposal, outer.proposal = outer.proposal, inner.proposal
	}
	t, ok := u.join(inner, outer, direction)
	if !ok {
		u.w.releaseTree(t)
		return tree{}, false
	}
	return t, true
}

// join makes one tree of a and b, which lies beyond it in the given direction,
// with the proposal of a. It reports false when the whole has made a U-turn.
func (u *walk) join(a, b tree, direction float64) (tree, bool) {
	left, right := a, b
	if direction < 0 {
		left, right = b, a
	}
	extra := u.w.get()
	defer u.w.put(extra)
	// The checks between the halves see U-turns that the whole hides.
	for i, r := range left.rho {
		extra[i] = r + right.pLeft[i]
	}
	ok := forward(left.vLeft, right.vLeft, extra)
	for i, r := range right.rho {
		extra[i] = r + left.pRight[i]
	}
	ok = ok && forward(left.vRight, right.vRight, extra)
	t := tree{pLeft: left.pLeft, vLeft: left.vLeft, pRight: right.pRight, vRight: right.vRight,
		rho: a.rho, logWeight: logSum(a.logWeight, b.logWeight), proposal: a.proposal}
	for i, r := range b.rho {
		t.rho[i] += r
	}
	ok = ok && forward(t.vLeft, t.vRight, t.rho)
	for _, v := range [][]float64{left.pRight, left.vRight, right.pLeft, right.vLeft, b.rho} {
		u.w.put(v)
	}
	u.w.release(b.proposal)
	return t, ok
}

// forward reports whether both end velocities still point along the sum of the
// momenta between them.
func forward(v1, v2, rho []float64) bool { return dot(v1, rho) > 0 && dot(v2, rho) > 0 }

func logSum(a, b float64) float64 {
	if a < b {
		a, b = b, a
	}
	return a + math.Log1p(math.Exp(b-a))
}

// Step implements [Kernel].
func (k NUTS) Step(d Density, s *State, rng *rand.Rand) (Info, error) {
	k.Metric.sample(s.Momentum, s.Temperature, rng)
	w := s.workspace()
	u := walk{d: d, m: k.Metric, w: w, rng: rng, step: k.StepSize, temperature: s.Temperature}
	left := s.phase(k.Metric)
	right := s.phase(k.Metric)
	u.start = left.hamiltonian()
	whole := u.leaf(&left)
	for u.info.Depth < k.maxDepth() {
		z, direction := &right, 1.0
		if rng.Uint64()&1 == 0 {
			z, direction = &left, -1
		}
		branch, ok := u.extend(z, u.info.Depth, direction)
		if !ok {
			break
		}
		u.info.Depth++
		// Between the old tree and the new one the new is favoured, which moves
		// further and keeps the distribution (Betancourt 2017, A.3.2).
		if rng.Float64() < math.Exp(min(0, branch.logWeight-whole.logWeight)) {
			whole.proposal, branch.proposal = branch.proposal, whole.proposal
		}
		if whole, ok = u.join(whole, branch, direction); !ok {
			break
		}
	}
	z := &whole.proposal
	copy(s.Theta, z.theta)
	copy(s.Momentum, z.p)
	copy(s.Gradient, z.gradient)
	s.Energy = z.energy
	s.Steps++
	u.info.Acceptance = u.sumAccept / float64(u.info.Gradients)
	u.info.Hamiltonian = z.hamiltonian()
	u.info.Kinetic = 2 * (u.info.Hamiltonian - z.energy) / float64(len(s.Theta))
	w.release(left)
	w.release(right)
	w.releaseTree(whole)
	return u.info, nil
}
