package drift

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/kelvin-ml/kelvin/dataset"
	"github.com/kelvin-ml/kelvin/nn"
	"github.com/kelvin-ml/kelvin/thermo"
	"github.com/kelvin-ml/kelvin/training"
	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

const (
	batchSize     = 256
	mostFeatures  = 64  // kept of a view; more are projected on as many random directions
	mostComponent = 5   // of the entropies: beyond them they are mostly error
	leastVariance = .01 // share of it that a component must have

	blockSize   = 100 // examples behind one block of an entropy's error
	leastBlocks = 4
	mostBlocks  = 10
)

// A state is what one set does in the network, example by example.
type state struct {
	n       int
	losses  []float64
	groups  []string
	virials [][]float64 // [group][example]
	views   []view
}

// A view is the examples as one place of the system sees them.
type view struct {
	name     string
	full     int       // dimension before the projection
	features int       // after it
	points   []float64 // n × features
	squares  []float64 // mean square of every example
}

// look runs the chosen examples through the network.
func look(ctx context.Context, network *nn.Network[float32], set *dataset.Set, chosen []int, labelled bool, seed uint64) (*state, error) {
	s := &state{n: len(chosen)}
	if err := training.Check(network, set); labelled && err != nil {
		return nil, err
	}
	if labelled {
		for _, g := range network.Groups {
			s.groups = append(s.groups, g.Name)
		}
		s.virials = make([][]float64, len(s.groups))
	}
	var batch nn.Batch[float32]
	var obs nn.Observation
	for from := 0; from < len(chosen); from += batchSize {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		part := chosen[from:min(from+batchSize, len(chosen))]
		training.Minibatch(set, part, &batch)
		if err := s.pass(network, batch, &obs, labelled); err != nil {
			return nil, err
		}
		i := 0
		keep := func(name string, values []float32) {
			if from == 0 {
				s.views = append(s.views, newView(name, len(values)/batch.N))
			}
			s.views[i].add(values, batch.N, seed+uint64(i))
			i++
		}
		keep("inputs", batch.X)
		for signal := range network.Signals {
			keep(signal.Name, signal.A)
		}
		keep("outputs", network.Outputs())
	}
	for _, v := range s.views {
		for _, x := range v.points {
			if math.IsNaN(x) || math.IsInf(x, 0) {
				return nil, fmt.Errorf("the %s of the network are not finite on it", v.name)
			}
		}
	}
	return s, nil
}

// pass runs one batch forward, and back where there are answers.
func (s *state) pass(network *nn.Network[float32], batch nn.Batch[float32], obs *nn.Observation, labelled bool) error {
	if !labelled { // the forward pass is what is wanted: any answers will do
		outputs, classes := 1, 0
		for _, d := range network.OutputShape() {
			outputs, classes = outputs*d, d
		}
		if network.Spec.Loss == "ce" {
			batch.Labels = make([]int32, batch.N*outputs/classes)
		} else {
			batch.Y = make([]float32, batch.N*outputs)
		}
		_, err := network.Energy(batch)
		return err
	}
	if _, err := network.Backward(batch, obs); err != nil {
		return err
	}
	s.losses = append(s.losses, obs.Loss...)
	for g := range s.virials {
		s.virials[g] = append(s.virials[g], obs.Virial[g]...)
	}
	return nil
}

func newView(name string, full int) view {
	return view{name: name, full: full, features: min(full, mostFeatures)}
}

// add takes in the values of n examples, on random directions if they are many.
func (v *view) add(values []float32, n int, seed uint64) {
	for i := range n {
		x := values[i*v.full : (i+1)*v.full]
		sum := 0.0
		for _, f := range x {
			sum += float64(f) * float64(f)
		}
		v.squares = append(v.squares, sum/float64(v.full))
		if v.full == v.features {
			for _, f := range x {
				v.points = append(v.points, float64(f))
			}
		}
	}
	if v.full == v.features {
		return
	}
	at := len(v.points)
	v.points = append(v.points, make([]float64, n*v.features)...)
	random := rand.New(rand.NewPCG(seed, 1)) // the same directions for every batch and set
	for j := range v.full {
		for f := range v.features {
			direction := random.NormFloat64()
			for i := range n {
				v.points[at+i*v.features+f] += direction * float64(values[i*v.full+j])
			}
		}
	}
}

// column is a view of single numbers.
func column(values []float64) view {
	return view{features: 1, full: 1, points: values}
}

func (v *view) matrix() *mat.Dense {
	return mat.NewDense(len(v.points)/v.features, v.features, v.points)
}

// entropies estimates both entropies on the principal components of the
// reference.
func (v *View) entropies(a, b view, energies [2]thermo.Reading) error {
	var pc stat.PC
	axes := mat.NewDense(a.features, 1, nil)
	if v.Components = 1; a.features == 1 {
		axes.Set(0, 0, 1)
	} else if pc.PrincipalComponents(a.matrix(), nil) {
		variances := pc.VarsTo(nil)
		total := 0.0
		for _, x := range variances {
			total += x
		}
		for v.Components < min(len(variances), mostComponent) && variances[v.Components] > leastVariance*total {
			v.Components++
		}
		var vectors mat.Dense
		pc.VectorsTo(&vectors)
		axes = mat.DenseCopyOf(vectors.Slice(0, a.features, 0, v.Components))
	}
	var rows [2][][]float64
	for i, part := range []view{a, b} {
		var projected mat.Dense
		projected.Mul(part.matrix(), axes)
		n, _ := projected.Dims()
		for j := range n {
			rows[i] = append(rows[i], projected.RawRowView(j))
		}
	}
	v.Reference, v.Current = thermo.KozachenkoLeonenko(rows[0]), thermo.KozachenkoLeonenko(rows[1])
	v.Reference.Group, v.Current.Group = v.Name, v.Name
	states := [2]thermo.State{{Name: "reference", Entropy: v.Reference}, {Name: "current", Entropy: v.Current}}
	stderr, dof := shiftError(rows)
	for i := range states {
		states[i].Energy = energies[i]
		states[i].Resolution = fmt.Sprintf("density of the data on %d principal components of the %s", v.Components, v.Name)
		if dof > 0 { // half of the variance of the difference each
			states[i].Entropy.StdErr, states[i].Entropy.DoF = stderr/math.Sqrt2, dof/2
		}
	}
	if shift := v.Current.Value - v.Reference.Value; dof > 0 && v.Reference.Valid() && v.Current.Valid() {
		half := distuv.StudentsT{Sigma: 1, Nu: dof}.Quantile(0.975) * stderr
		v.Entropy = &Interval{Value: shift, StdErr: stderr, Low: shift - half, High: shift + half}
	}
	t, err := thermo.NewTransition(states[0], states[1])
	v.Shift = t
	return err
}

// shiftError returns the standard error of the difference of the two entropies and
// its degrees of freedom, by the spread over disjoint blocks of both sets. The
// errors of the two estimates would add up to more: most of their bias is common.
// Without enough examples the degrees of freedom are 0.
func shiftError(rows [2][][]float64) (stderr, dof float64) {
	blocks := min(len(rows[0]), len(rows[1])) / blockSize
	if blocks = min(blocks, mostBlocks); blocks < leastBlocks {
		return 0, 0
	}
	var shifts []float64
	for k := range blocks {
		var entropies [2]thermo.Reading
		for i, set := range rows {
			entropies[i] = thermo.KozachenkoLeonenko(set[k*len(set)/blocks : (k+1)*len(set)/blocks])
		}
		if d := entropies[1].Value - entropies[0].Value; !math.IsNaN(d) {
			shifts = append(shifts, d)
		}
	}
	if len(shifts) < leastBlocks {
		return 0, 0
	}
	return stat.StdDev(shifts, nil) / math.Sqrt(float64(len(shifts))), float64(len(shifts) - 1)
}
