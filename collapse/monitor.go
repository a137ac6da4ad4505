package collapse

import (
	"bytes"
	"cmp"
	"compress/flate"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"

	"github.com/kelvin-ml/kelvin/thermo"
)

// A Statistic is one sign of collapse in one generation, and its comparison with
// generation 0.
type Statistic struct {
	thermo.Reading         // mean over the batches
	Low, High      float64 // 95 % bootstrap interval
	PValue         float64 // chance that two samples of generation 0 differ as much; NaN for generation 0
	Adjusted       float64 // the same, for looking at so many statistics and generations (Holm)
}

// A Monitored is a generation as Monitor sees it.
type Monitored struct {
	Path       string
	Documents  int
	Statistics []Statistic
	Fresh      thermo.Reading // fresh examples for every generated one that would hold it, 1/τ − 1
	Verdict    Verdict
}

// numberOfBatches a generation is dealt into, generation 0 twice as many: half of
// them define what its tail and its energies are, and are compared with nothing.
const numberOfBatches = 24

// permutations of the test of equal means.
const permutations = 2000

// significance of an adjusted p-value.
const significance = 0.05

// Monitor compares generations of text with generation 0, the first. Every statistic
// is taken of batches of equal numbers of words, and compared by permuting batches:
// under no change the chance of a finding is that which is said.
func Monitor(ctx context.Context, corpora []*Corpus, seed uint64) ([]Monitored, error) {
	if len(corpora) < 2 {
		return nil, fmt.Errorf("monitor: expected at least two generations, got %d", len(corpora))
	}
	const least = 50
	words := corpora[0].words() / (2 * numberOfBatches)
	for _, c := range corpora[1:] {
		words = min(words, c.words()/numberOfBatches)
	}
	fits := func() bool {
		for _, c := range corpora[1:] {
			if len(c.batches(numberOfBatches, words)) < numberOfBatches {
				return false
			}
		}
		return len(corpora[0].batches(2*numberOfBatches, words)) == 2*numberOfBatches
	}
	for words >= least && !fits() {
		words = words * 19 / 20
	}
	if words < least {
		return nil, fmt.Errorf("monitor: the smallest generation has too little text: expected %d times %d words in whole documents, twice as many in generation 0", numberOfBatches, least)
	}
	first := corpora[0].batches(2*numberOfBatches, words)
	reference := newReference(first[:numberOfBatches])
	var all [][][]float64 // [generation][batch][statistic]
	for g, c := range corpora {
		batches := first[numberOfBatches:]
		if g > 0 {
			batches = c.batches(numberOfBatches, words)
		}
		var rows [][]float64
		for _, b := range batches {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			rows = append(rows, reference.measure(b))
		}
		all = append(all, rows)
	}
	list := compare(all, textStatistics, seed)
	for g := range list {
		list[g].Path, list[g].Documents = corpora[g].Path, corpora[g].Documents
	}
	judge(list, "entropy", "temperature")
	return list, nil
}

// textStatistics are what measure returns, with their units.
var textStatistics = [][2]string{
	{"entropy", "nat/word"}, {"distinct-1", "1"}, {"distinct-2", "1"}, {"distinct-3", "1"}, {"compression", "1"},
	{"tail mass", "1"}, {"vendi", "documents"}, {"energy", "nat/word"}, {"temperature", "1"},
}

// compare takes means over batches, and tests them against those of generation 0.
func compare(all [][][]float64, names [][2]string, seed uint64) []Monitored {
	r := rand.New(rand.NewPCG(seed, 6))
	list := make([]Monitored, len(all))
	column := func(g, k int) []float64 {
		var xs []float64
		for _, row := range all[g] {
			if x := row[k]; !math.IsNaN(x) && !math.IsInf(x, 0) {
				xs = append(xs, x)
			}
		}
		return xs
	}
	for g := range all {
		for k, name := range names {
			xs := column(g, k)
			s := Statistic{Reading: overRuns(name[0], name[1], xs), PValue: math.NaN(), Adjusted: math.NaN()}
			s.Low, s.High = bootstrap(xs, r)
			if g > 0 && len(xs) > 1 {
				s.PValue = permute(column(0, k), xs, r)
			}
			list[g].Statistics = append(list[g].Statistics, s)
		}
	}
	holm(list)
	return list
}

// bootstrap returns a 95 % interval of the mean.
func bootstrap(xs []float64, r *rand.Rand) (low, high float64) {
	if len(xs) < 2 {
		return math.NaN(), math.NaN()
	}
	means := make([]float64, 1000)
	for i := range means {
		for range xs {
			means[i] += xs[r.IntN(len(xs))] / float64(len(xs))
		}
	}
	slices.Sort(means)
	return means[25], means[974]
}

// permute returns the chance of a difference of means at least as large when
// batches are dealt to the two generations at random. Where few permutations reach
// it, the tail is that of Student's t of the difference.
func permute(a, b []float64, r *rand.Rand) float64 {
	pool := append(slices.Clone(a), b...)
	difference := func() float64 { return math.Abs(stat.Mean(pool[:len(a)], nil) - stat.Mean(pool[len(a):], nil)) }
	seen, reached := difference(), 0
	for range permutations {
		r.Shuffle(len(pool), func(i, j int) { pool[i], pool[j] = pool[j], pool[i] })
		if difference() >= seen*(1-1e-12) {
			reached++
		}
	}
	if reached >= 10 {
		return float64(reached+1) / (permutations + 1)
	}
	va, vb := stat.Variance(a, nil)/float64(len(a)), stat.Variance(b, nil)/float64(len(b))
	if va+vb == 0 {
		return 1 / float64(permutations+1)
	}
	dof := (va + vb) * (va + vb) / (va*va/float64(len(a)-1) + vb*vb/float64(len(b)-1))
	tail := 2 * distuv.StudentsT{Sigma: 1, Nu: dof}.Survival(seen/math.Sqrt(va+vb))
	return math.Min(tail, float64(reached+1)/(permutations+1))
}

// holm adjusts p-values for their number.
func holm(list []Monitored) {
	var tests []*Statistic
	for g := range list {
		for k := range list[g].Statistics {
			if s := &list[g].Statistics[k]; !math.IsNaN(s.PValue) {
				tests = append(tests, s)
			}
		}
	}
	slices.SortFunc(tests, func(a, b *Statistic) int {
		if a.PValue < b.PValue {
			return -1
		}
		return 1
	})
	largest := 0.0
	for i, s := range tests {
		largest = math.Max(largest, math.Min(1, s.PValue*float64(len(tests)-i)))
		s.Adjusted = largest
	}
}

// judge gives every generation a verdict: collapse or heat death where one of two
// statistics (the first an entropy, the second a temperature or "") moved beyond
// chance, by its sign.
func judge(list []Monitored, entropy, temperature string) {
	base := statistics(list[0].Statistics)
	list[0].Verdict = Stable
	for g := 1; g < len(list); g++ {
		m := &list[g]
		m.Verdict = Stable
		of := statistics(m.Statistics)
		moved := 0.0
		for _, name := range []string{entropy, temperature} {
			if s, ok := of[name]; ok && s.Adjusted < significance && moved == 0 {
				moved = s.Value - base[name].Value
			}
		}
		switch {
		case moved < 0:
			m.Verdict = Collapse
		case moved > 0:
			m.Verdict = HeatDeath
		}
		if t, ok := of[temperature]; ok {
			m.Fresh = freshNeeded(base[temperature].Reading, t.Reading, g)
		}
	}
	for g := range list {
		for k := range list[g].Statistics {
			if s := &list[g].Statistics[k]; s.Name == temperature {
				s.relativeTo(base[temperature].Reading, g > 0)
			}
		}
	}
}

// relativeTo divides a temperature by that of generation 0, which is 1 by
// definition. The half of generation 0 that temperatures are read under is a sample
// of its own; what it reads wrong, it reads wrong of both.
func (s *Statistic) relativeTo(base thermo.Reading, independent bool) {
	value, stderr := s.Value/base.Value, s.StdErr/base.Value
	if independent {
		stderr = value * math.Hypot(s.StdErr/s.Value, base.StdErr/base.Value)
	}
	if wider := stderr / s.StdErr; s.StdErr > 0 {
		s.Low, s.High = value-wider*(s.Value-s.Low), value+wider*(s.High-s.Value)
	}
	s.Value, s.StdErr = value, stderr
}

func statistics(list []Statistic) map[string]Statistic {
	m := map[string]Statistic{}
	for _, s := range list {
		m[s.Name] = s
	}
	return m
}

// freshNeeded is the share of fresh data 1/τ − 1 (CriticalFresh) that would hold a
// loop whose samples cooled to the ratio of two temperatures in some generations:
// τ is the ratio's root, and the rest of what a loop does is neglected.
func freshNeeded(base, now thermo.Reading, generations int) thermo.Reading {
	r := thermo.Reading{Name: "fresh", Unit: "1", ESS: now.ESS}
	ratio := now.Value / base.Value
	tau := math.Pow(ratio, 1/float64(generations))
	r.Value = 1/tau - 1
	r.StdErr = (r.Value + 1) / float64(generations) * math.Hypot(now.StdErr/now.Value, base.StdErr/base.Value)
	if !(ratio > 0) {
		r.Value, r.StdErr, r.Invalid = math.NaN(), math.NaN(), "no temperature to tell from"
	} else if r.Value < 0 {
		r.Value, r.Invalid = 0, "none: the samples are not colder than generation 0"
	}
	return r
}

// A reference is half of generation 0: which pairs of words are common there, and
// how probable words are. Pairs that are not common are the tail.
type reference struct {
	common map[[2]string]bool // the most frequent pairs of words, half of all there are
	counts map[string]int     // of words
	total  float64            // of words, with those that were never seen
	levels []level
}

// A level is the words that were seen equally often: they have one energy. By Good
// and Turing's rule there is as much to be seen yet as was seen once: words that
// were never seen are taken to be as many as those, and as probable.
type level struct{ energy, words float64 }

// features is the length of the vectors behind the Vendi score.
const features = 64

func newReference(batches [][][]string) *reference {
	pairs, words, total := map[[2]string]int{}, map[string]int{}, 0
	for _, b := range batches {
		for _, d := range b {
			for i, w := range d {
				words[w]++
				total++
				if i > 0 {
					pairs[[2]string{d[i-1], w}]++
				}
			}
		}
	}
	r := &reference{common: map[[2]string]bool{}, counts: words, total: float64(total)}
	r.splitPairs(pairs)
	byCount := map[int]float64{}
	for _, n := range words {
		byCount[n]++
	}
	r.total += byCount[1]
	byCount[1] *= 2
	for n, k := range byCount {
		r.levels = append(r.levels, level{r.energy(n), k})
	}
	slices.SortFunc(r.levels, func(a, b level) int { return cmp.Compare(a.energy, b.energy) })
	return r
}

// energy is −ln p of a word that was seen a number of times.
func (r *reference) energy(count int) float64 {
	return -math.Log(math.Max(float64(count), 1) / r.total)
}

// splitPairs puts the most frequent pairs, half of all there are, on one side.
func (r *reference) splitPairs(pairs map[[2]string]int) {
	counts := map[int]int{} // pairs by how often they are there, weighted
	total := 0
	for _, n := range pairs {
		counts[n] += n
		total += n
	}
	order := make([]int, 0, len(counts))
	for n := range counts {
		order = append(order, n)
	}
	slices.SortFunc(order, func(a, b int) int { return b - a })
	edge, sum := 1, 0
	for _, n := range order {
		if edge, sum = n, sum+counts[n]; sum >= total/2 {
			break
		}
	}
	for pair, n := range pairs {
		if n >= edge {
			r.common[pair] = true
		}
	}
}

// measure returns the statistics of a batch (textStatistics).
func (r *reference) measure(docs [][]string) []float64 {
	one, two, three := map[string]int{}, map[[2]string]bool{}, map[[3]string]bool{}
	n, pairs, triples, tail, energy := 0.0, 0.0, 0.0, 0.0, 0.0
	var text bytes.Buffer
	var vectors [][]float64
	for _, d := range docs {
		vector := make([]float64, features)
		for i, w := range d {
			n++
			one[w]++
			text.WriteString(w)
			text.WriteByte(' ')
			energy += r.energy(r.counts[w])
			h := hash(w)
			vector[h%features] += 1 - 2*float64(h>>32&1)
			if i > 0 {
				pair := [2]string{d[i-1], w}
				two[pair] = true
				if pairs++; !r.common[pair] {
					tail++
				}
			}
			if i > 1 {
				three[[3]string{d[i-2], d[i-1], w}] = true
				triples++
			}
		}
		normalise(vector)
		vectors = append(vectors, vector)
		text.WriteByte('\n')
	}
	entropy := 0.0
	for _, count := range one {
		p := float64(count) / n
		entropy -= p * math.Log(p)
	}
	entropy += float64(len(one)-1) / (2 * n) // Miller and Madow
	return []float64{entropy, float64(len(one)) / n, float64(len(two)) / pairs, float64(len(three)) / triples, compression(text.Bytes()),
		tail / pairs, vendiOf(vectors), energy / n, r.temperature(energy / n)}
}

// hash is FNV-1a, the same on every machine, mixed once more.
func hash(w string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(w) {
		h = (h ^ uint64(w[i])) * 1099511628211
	}
	return (h ^ h>>29) * 0xbf58476d1ce4e5b9
}

// compression is the size of a text after deflation over that before.
func compression(text []byte) float64 {
	var out counter
	w, err := flate.NewWriter(&out, flate.DefaultCompression)
	if err != nil {
		return math.NaN()
	}
	if _, err := w.Write(text); err != nil || w.Close() != nil || len(text) == 0 {
		return math.NaN()
	}
	return float64(out) / float64(len(text))
}

type counter int

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// temperature is the one at which words drawn from generation 0 would have a mean
// energy: the likelihood thermometer, whose choices all have the same energies.
func (r *reference) temperature(energy float64) float64 {
	mean := func(beta float64) float64 {
		z, e := 0.0, 0.0
		for _, l := range r.levels {
			w := l.words * math.Exp(-beta*(l.energy-r.levels[0].energy))
			z, e = z+w, e+w*l.energy
		}
		return e / z
	}
	low, high := 1.0/64, 64.0
	if energy >= mean(low) || energy <= mean(high) {
		return math.NaN()
	}
	for range 60 {
		if m := math.Sqrt(low * high); mean(m) > energy {
			low = m
		} else {
			high = m
		}
	}
	return 1 / math.Sqrt(low*high)
}
