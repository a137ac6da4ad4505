// Command drift measures how often kelvin drift sees a shift of the data, beside
// the tests that others use on the same samples: Kolmogorov-Smirnov on every input or
// output (Bonferroni), and the maximum mean discrepancy of the inputs.
// docs/commands/drift.md shows what it prints.
//
//	go run ./examples/drift [-repeats 100]
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"math"
	"math/rand/v2"
	"os"
	"os/signal"
	"slices"

	"github.com/kelvin-ml/kelvin/dataset"
	"github.com/kelvin-ml/kelvin/drift"
	"github.com/kelvin-ml/kelvin/nn"
	"github.com/kelvin-ml/kelvin/training"
	"gonum.org/v1/gonum/stat"
)

const (
	side         = 8 // pixels
	examples     = 200
	permutations = 199
	level        = 0.05
)

// A shift is what happens to the data.
type shift struct {
	name  string
	apply func(s *dataset.Set, random *rand.Rand)
}

var shifts = []shift{
	{"none", func(*dataset.Set, *rand.Rand) {}},
	{"brighter by 0.03", func(s *dataset.Set, _ *rand.Rand) { each(s, func(x float32) float32 { return x + 0.03 }) }},
	{"contrast × 0.85", func(s *dataset.Set, _ *rand.Rand) { each(s, func(x float32) float32 { return 0.85 * x }) }},
	{"noise of 0.15", func(s *dataset.Set, random *rand.Rand) {
		each(s, func(x float32) float32 { return x + 0.15*float32(random.NormFloat64()) })
	}},
	{"a tenth shifted by a pixel", func(s *dataset.Set, random *rand.Rand) { some(s, random, 0.1, translate) }},
	{"all shifted by a pixel", func(s *dataset.Set, random *rand.Rand) { some(s, random, 1, translate) }},
	{"half the 0s gone", func(s *dataset.Set, random *rand.Rand) { thin(s, random) }},
	{"a tenth of the answers wrong", func(s *dataset.Set, random *rand.Rand) {
		for i := range s.Labels {
			if random.Float64() < 0.1 {
				s.Labels[i] = (s.Labels[i] + 1 + int32(random.IntN(9))) % 10
			}
		}
	}},
}

func main() {
	log.SetFlags(0)
	repeats := flag.Int("repeats", 100, "comparisons of each shift")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	network, heldOut, err := train()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d and %d examples of handwritten digits, level %v, %d repeats: how often, in %%\n\n", examples, examples, level, *repeats)
	fmt.Println("| shift | energy shift | kelvin: watch or refresh | refresh | KS of inputs | KS of outputs | MMD of inputs |")
	fmt.Println("|---|---|---|---|---|---|---|")
	for _, s := range shifts {
		row, err := measure(ctx, network, heldOut, s, *repeats)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(row)
	}
}

// train returns a network of half the digits, and the other half.
func train() (*nn.Network[float32], *dataset.Set, error) {
	set, err := dataset.Make("digits", dataset.Options{Seed: 1})
	if err != nil {
		return nil, nil, err
	}
	random := rand.New(rand.NewPCG(1, 0))
	order := random.Perm(set.N)
	spec, err := nn.ParseArch("64-32-10:relu", "ce")
	if err != nil {
		return nil, nil, err
	}
	trainer, err := training.New(training.Config{Network: spec, Init: "he", Batch: 64, Steps: 600, Seed: 1,
		Optimizer: nn.OptimizerSpec{Kind: "adam", LearningRate: 3e-3}}, rows(set, order[:900]))
	if err != nil {
		return nil, nil, err
	}
	for range trainer.Config.Steps {
		if _, err := trainer.Advance(nil); err != nil {
			return nil, nil, err
		}
	}
	return trainer.Network, rows(set, order[900:]), nil
}

// measure counts the alarms of all tests.
func measure(ctx context.Context, network *nn.Network[float32], heldOut *dataset.Set, s shift, repeats int) (string, error) {
	var watch, refresh, inputs, outputs, discrepancy int
	var shifts []float64
	for repeat := range repeats {
		random := rand.New(rand.NewPCG(2, uint64(repeat)))
		order := random.Perm(heldOut.N)
		reference, current := rows(heldOut, order[:examples]), rows(heldOut, order[examples:2*examples])
		s.apply(current, random)
		r, err := drift.Compare(ctx, network, reference, current, drift.Options{Permutations: permutations, Bootstraps: 200, Seed: uint64(repeat)})
		if err != nil {
			return "", err
		}
		shifts = append(shifts, r.Energy.Value)
		count(&watch, r.Verdict != drift.Fine)
		count(&refresh, r.Verdict == drift.Refresh)
		a, b := columns(reference.X, reference.N), columns(current.X, current.N)
		count(&inputs, kolmogorovSmirnov(a, b))
		count(&discrepancy, maximumMeanDiscrepancy(reference.X, current.X, reference.N, random))
		c, err := outputsOf(network, reference)
		if err != nil {
			return "", err
		}
		d, err := outputsOf(network, current)
		if err != nil {
			return "", err
		}
		count(&outputs, kolmogorovSmirnov(c, d))
	}
	mean, deviation := stat.MeanStdDev(shifts, nil)
	percent := func(n int) string { return fmt.Sprintf("%.0f", 100*float64(n)/float64(repeats)) }
	return fmt.Sprintf("| %s | %.3f ± %.3f | %s | %s | %s | %s | %s |", s.name, mean, deviation/math.Sqrt(float64(repeats)),
		percent(watch), percent(refresh), percent(inputs), percent(outputs), percent(discrepancy)), nil
}

func count(n *int, yes bool) {
	if yes {
		*n++
	}
}

func rows(s *dataset.Set, chosen []int) *dataset.Set {
	out := &dataset.Set{Shape: s.Shape, DType: s.DType, Classes: s.Classes, N: len(chosen)}
	f := s.Features()
	for _, i := range chosen {
		out.X = append(out.X, s.X[i*f:(i+1)*f]...)
		out.Labels = append(out.Labels, s.Labels[i])
	}
	return out
}

func each(s *dataset.Set, f func(float32) float32) {
	for i, x := range s.X {
		s.X[i] = f(x)
	}
}

func some(s *dataset.Set, random *rand.Rand, share float64, change func([]float32)) {
	for i := range s.N {
		if random.Float64() < share {
			change(s.X[i*side*side : (i+1)*side*side])
		}
	}
}

// translate moves an image to the right.
func translate(image []float32) {
	for y := range side {
		row := image[y*side : (y+1)*side]
		copy(row[1:], row[:side-1])
		row[0] = 0
	}
}

// thin takes away half of the zeros.
func thin(s *dataset.Set, random *rand.Rand) {
	var kept []int
	for i, y := range s.Labels {
		if y != 0 || random.IntN(2) == 0 {
			kept = append(kept, i)
		}
	}
	*s = *rows(s, kept)
}

// columns returns the values of every feature, sorted.
func columns(x []float32, n int) [][]float64 {
	list := make([][]float64, len(x)/n)
	for f := range list {
		for i := range n {
			list[f] = append(list[f], float64(x[i*len(list)+f]))
		}
		slices.Sort(list[f])
	}
	return list
}

func outputsOf(network *nn.Network[float32], s *dataset.Set) ([][]float64, error) {
	if _, err := network.Energy(nn.Batch[float32]{N: s.N, X: s.X, Labels: s.Labels}); err != nil {
		return nil, err
	}
	return columns(network.Outputs(), s.N), nil
}

// kolmogorovSmirnov reports whether any of the features differs, by the
// asymptotic distribution and Bonferroni's correction.
func kolmogorovSmirnov(a, b [][]float64) bool {
	for f := range a {
		n, m := float64(len(a[f])), float64(len(b[f]))
		effective := math.Sqrt(n * m / (n + m))
		x := (effective + 0.12 + 0.11/effective) * stat.KolmogorovSmirnov(a[f], nil, b[f], nil)
		p := 0.0
		for k := 1.0; k <= 100; k++ {
			p += 2 * math.Pow(-1, k-1) * math.Exp(-2*k*k*x*x)
		}
		if x > 0.2 && p < level/float64(len(a)) {
			return true
		}
	}
	return false
}

// maximumMeanDiscrepancy reports whether the kernel two-sample test with a Gaussian
// kernel of median width rejects, by permutations (Gretton et al., Journal of
// Machine Learning Research 13, 723, 2012).
func maximumMeanDiscrepancy(a, b []float32, n int, random *rand.Rand) bool {
	points := slices.Concat(a, b)
	f := len(a) / n
	total := len(points) / f
	kernel := make([]float64, total*total)
	var distances []float64
	for i := range total {
		for j := range i {
			d := 0.0
			for k := range f {
				e := float64(points[i*f+k] - points[j*f+k])
				d += e * e
			}
			kernel[i*total+j], kernel[j*total+i] = d, d
			distances = append(distances, d)
		}
	}
	slices.Sort(distances)
	width := distances[len(distances)/2]
	for i, d := range kernel {
		kernel[i] = math.Exp(-d / width)
	}
	order := make([]int, total)
	for i := range order {
		order[i] = i
	}
	statistic := func() float64 {
		var same, other float64
		for i := range total {
			for j := range total {
				if (order[i] < n) == (order[j] < n) {
					size := float64(n)
					if order[i] >= n {
						size = float64(total - n)
					}
					same += kernel[i*total+j] / (size * size)
				} else {
					other += kernel[i*total+j] / (float64(n) * float64(total-n))
				}
			}
		}
		return same - other
	}
	observed, higher := statistic(), 1
	for range permutations {
		random.Shuffle(total, func(i, j int) { order[i], order[j] = order[j], order[i] })
		count(&higher, statistic() >= observed)
	}
	return float64(higher)/(permutations+1) <= level
}
