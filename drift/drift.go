// Package drift compares what a trained network met in training with what it
// meets now: two type II states, whose parameters are fixed and whose data differ
// (docs/theory.md, T1). When the new state has more energy, the network wants a
// refresh.
package drift

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/kelvin-ml/kelvin/dataset"
	"github.com/kelvin-ml/kelvin/nn"
	"github.com/kelvin-ml/kelvin/thermo"
	"gonum.org/v1/gonum/stat"
)

// Options of Compare. Zero values mean the defaults.
type Options struct {
	Examples     int // drawn from each set at most; 2000
	Permutations int // 999
	Bootstraps   int // 1999
	Seed         uint64
}

// A Verdict says what to do.
type Verdict string

// The verdicts. Without drift, any but Fine has a chance of five per cent.
const (
	Fine    Verdict = "fine"    // no difference was found
	Watch   Verdict = "watch"   // the data differ, but the energy is not known to have risen
	Refresh Verdict = "refresh" // the energy has risen
)

const (
	level     = 0.05 // of the verdict
	leastRise = 0.05 // of the energy, that counts
	fewest    = 30   // examples of each set
)

// An Interval is an estimate with its interval of 95 %: by the bootstrap, but for
// entropies.
type Interval struct {
	Value  float64 `json:"value"`
	StdErr float64 `json:"stderr"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
}

// A View is the data as one part of the system sees them.
type View struct {
	Name       string         // "inputs", the name of an activation layer, "outputs", "losses"
	Dimension  int            // of the view
	Components int            // principal components (of the reference) that the entropies are of
	Signal     *Interval      // mean square now, relative to the reference's; nil for the losses, and where that is 0
	Reference  thermo.Reading // entropy, in nats
	Current    thermo.Reading
	Entropy    *Interval         // of the shift of the entropy, by blocks of examples; nil with fewer than 400 in a set
	Shift      thermo.Transition // from reference to current; T = ΔU/ΔS
	P          float64           // corrected for all that was looked at; 1 for the losses, whose p is the energy's
}

// A Layer is what the shift does to the parameters of one layer.
type Layer struct {
	Name string
	Heat Interval // change of ⟨θ·∇E⟩, the virial of the layer
	P    float64
}

// A Result is what Compare found.
type Result struct {
	Reference, Current int       // examples used
	Energy             *Interval // current − reference; nil without labels
	EnergyReference    float64
	EnergyCurrent      float64
	EnergyP            float64 // of the energy alone
	Views              []View
	Layers             []Layer // empty without labels
	P                  float64 // of the whole comparison
	Verdict            Verdict
	Findings           []thermo.Finding
	Permutations       int
	Interrupted        bool // fewer permutations than asked
}

// Compare runs both sets through the network and tells whether they differ, where,
// and whether the energy rose. Without answers in both sets the energy is not
// known and the verdict is at most [Watch].
//
// It looks at the inputs, at every activation and at the outputs in three ways
// (means, density, and whether nearest neighbours come from the same set), at the
// losses, and at the virial of every layer. p-values are of permutations of the
// examples between the two sets, with the largest of all standardised statistics
// (Westfall and Young, 1993), so they are exact for exchangeable examples
// whatever the network; examples that depend on each other, frames of one video, are
// not exchangeable.
//
// It fails if the sets do not fit the network or each other, or have fewer than
// 30 examples. When ctx ends among the permutations, the result is of those done.
func Compare(ctx context.Context, network *nn.Network[float32], reference, current *dataset.Set, o Options) (*Result, error) {
	o.Examples, o.Permutations, o.Bootstraps = defaulted(o.Examples, 2000), defaulted(o.Permutations, 999), defaulted(o.Bootstraps, 1999)
	if !slices.Equal(reference.Shape, current.Shape) {
		return nil, fmt.Errorf("drift: an example of the reference has shape %v, one of the current set %v", reference.Shape, current.Shape)
	}
	if min(reference.N, current.N) < fewest {
		return nil, fmt.Errorf("drift: expected at least %d examples in each set, got %d and %d", fewest, reference.N, current.N)
	}
	random := rand.New(rand.NewPCG(o.Seed, 0))
	labelled := answered(reference) && answered(current)
	var parts [2]*state
	for i, set := range []*dataset.Set{reference, current} {
		s, err := look(ctx, network, set, draw(set.N, o.Examples, random), labelled, o.Seed)
		if err != nil {
			return nil, fmt.Errorf("drift: %s set: %w", []string{"reference", "current"}[i], err)
		}
		parts[i] = s
	}
	return compare(ctx, parts[0], parts[1], labelled, o, random)
}

func defaulted(value, standard int) int {
	if value == 0 {
		return standard
	}
	return value
}

func answered(s *dataset.Set) bool { return s.Labels != nil || s.Y != nil }

// draw chooses at most n of a set's examples, in random order.
func draw(of, n int, random *rand.Rand) []int {
	return random.Perm(of)[:min(of, n)]
}

func compare(ctx context.Context, a, b *state, labelled bool, o Options, random *rand.Rand) (*Result, error) {
	r := &Result{Reference: a.n, Current: b.n, EnergyP: 1, Verdict: Fine, Findings: []thermo.Finding{}}
	t, err := newTest(ctx, a, b, labelled)
	if err != nil {
		return nil, err
	}
	r.Permutations = t.permute(ctx, o.Permutations, random)
	r.Interrupted = r.Permutations < o.Permutations
	if r.Permutations < 99 {
		return nil, fmt.Errorf("drift: interrupted after %d permutations; at least 99 are needed: %w", r.Permutations, ctx.Err())
	}
	r.P = t.least()
	energies := [2]thermo.Reading{unread("no answers"), unread("no answers")}
	if labelled {
		shift := t.bootstrap(o.Bootstraps, random, a.losses, b.losses, func(x, y float64) float64 { return y - x })
		r.Energy, r.EnergyP = &shift, t.alone("energy")
		energies = [2]thermo.Reading{mean(a.losses), mean(b.losses)}
		r.EnergyReference, r.EnergyCurrent = energies[0].Value, energies[1].Value
		for i, name := range a.groups {
			heat := t.bootstrap(o.Bootstraps, random, a.virials[i], b.virials[i], func(x, y float64) float64 { return y - x })
			r.Layers = append(r.Layers, Layer{name, heat, t.p("heat " + name)})
		}
	}
	for i, v := range a.views {
		if ctx.Err() != nil {
			r.Interrupted = true
			break
		}
		view := View{Name: v.name, Dimension: v.full, P: min(t.p("mean "+v.name), t.p("density "+v.name), t.p("neighbours "+v.name))}
		if stat.Mean(v.squares, nil) > 0 {
			signal := t.bootstrap(o.Bootstraps, random, v.squares, b.views[i].squares, func(x, y float64) float64 { return y / x })
			view.Signal = &signal
		}
		if err := view.entropies(v, b.views[i], energies); err != nil {
			return nil, err
		}
		r.Views = append(r.Views, view)
	}
	if labelled {
		view := View{Name: "losses", Dimension: 1, P: 1}
		if err := view.entropies(column(a.losses), column(b.losses), energies); err != nil {
			return nil, err
		}
		r.Views = append(r.Views, view)
	}
	r.judge()
	return r, nil
}

func unread(why string) thermo.Reading {
	return thermo.Reading{Name: "energy", Unit: "energy", Value: math.NaN(), StdErr: math.NaN(), Invalid: why}
}

func mean(values []float64) thermo.Reading {
	m, sd := stat.MeanStdDev(values, nil)
	n := float64(len(values))
	return thermo.Reading{Name: "energy", Unit: "energy", Value: m, StdErr: sd / math.Sqrt(n), ESS: n, DoF: n - 1}
}

// judge comes to the verdict.
func (r *Result) judge() {
	// The energy need not be corrected for the other statistics: the gate before
	// it is the comparison as a whole.
	risen := r.P < level && r.Energy != nil && r.EnergyP < level && r.Energy.Low > leastRise*math.Abs(r.EnergyReference)
	where := ""
	least := 1.0
	for _, v := range r.Views {
		if v.P < least {
			where, least = v.Name, v.P
		}
	}
	switch {
	case risen:
		r.Verdict = Refresh
		r.Findings = append(r.Findings, thermo.Finding{ID: "refresh", Severity: thermo.Critical, Confidence: 1 - max(r.P, r.EnergyP),
			What: fmt.Sprintf("the energy has risen from %.4g to %.4g", r.EnergyReference, r.EnergyCurrent),
			Evidence: fmt.Sprintf("shift %s (95 %%: %s to %s), p = %.2g; of the whole comparison p = %.2g",
				thermo.FormatError(r.Energy.Value, r.Energy.StdErr), thermo.Format(r.Energy.Low, 3), thermo.Format(r.Energy.High, 3), r.EnergyP, r.P),
			Change: "if the reference was held out of training, train on some of the new data; if it was not, an energy this far above is what overfitting looks like: compare with held-out data"})
	case r.P < level:
		r.Verdict = Watch
		evidence := fmt.Sprintf("p = %.2g corrected for all that was looked at", r.P)
		if where != "" && least < level {
			evidence += ", most in " + where
		}
		change := "collect answers for some of the new data: only they tell whether the energy has risen"
		if r.Energy != nil {
			change = "compare again with more examples; the energy has not risen by as much as counts"
			evidence += fmt.Sprintf("; the energy shifted by %s", thermo.FormatError(r.Energy.Value, r.Energy.StdErr))
		}
		r.Findings = append(r.Findings, thermo.Finding{ID: "drift", Severity: thermo.Warning, Confidence: 1 - r.P, Group: where,
			What: "the data have changed", Evidence: evidence, Change: change})
	}
}
