package collapse

import (
	"math"
	"math/rand/v2"
	"slices"
)

// Sequences are sentences of a small language: letters, numbered, that follow each
// other by a Markov chain of order two, of fixed length.
const (
	letters = 16
	length  = 24
)

// ngram is a Markov chain of order two on letters, with a little of every letter
// added to what was counted.
type ngram struct {
	p [letters][letters][letters]float64 // of the third, given two
}

// smoothing is what is added to every count.
const smoothing = 0.01

// NewNgram returns a world of sentences, refitted by counting.
func NewNgram() *World {
	truth := language(true)
	return &World{Name: "ngram", Truth: truth, New: func() Model { return &ngram{} }, Tail: rare(truth)}
}

// language draws the chain of the world: after a letter, or with two after two of
// them, some letters are likely and most are not (a Zipf law over a random order).
func language(two bool) *ngram {
	r := rand.New(rand.NewPCG(1, 1))
	var m ngram
	for a := range letters {
		for b := range letters {
			if !two && a > 0 {
				m.p[a][b] = m.p[0][b]
				continue
			}
			sum := 0.0
			for rank, c := range r.Perm(letters) {
				m.p[a][b][c] = math.Pow(float64(rank+1), -1.5)
				sum += m.p[a][b][c]
			}
			for c := range letters {
				m.p[a][b][c] /= sum
			}
		}
	}
	return &m
}

// rare reports whether a sentence is less probable than nine of ten are.
func rare(truth *ngram) func(Data, int) bool {
	energy := func(d Data, i int) float64 {
		return truth.Energy(Data{Width: d.Width, Tokens: d.Tokens[i*d.Width : (i+1)*d.Width]})
	}
	d, err := truth.Sample(5000, 1, rand.New(rand.NewPCG(2, 2)))
	if err != nil {
		panic(err) // a chain can be sampled
	}
	energies := make([]float64, d.Len())
	for i := range energies {
		energies[i] = energy(d, i)
	}
	slices.Sort(energies)
	edge := energies[len(energies)*9/10]
	return func(d Data, i int) bool { return energy(d, i) > edge }
}

func (m *ngram) Fit(data Data, _ *rand.Rand) error {
	*m = ngram{}
	for i := range data.Len() {
		s := data.Tokens[i*data.Width : (i+1)*data.Width]
		for j := 2; j < len(s); j++ {
			m.p[s[j-2]][s[j-1]][s[j]]++
		}
	}
	for a := range letters {
		for b := range letters {
			sum := 0.0
			for c := range letters {
				m.p[a][b][c] += smoothing
				sum += m.p[a][b][c]
			}
			for c := range letters {
				m.p[a][b][c] /= sum
			}
		}
	}
	return nil
}

// Sample begins every sentence with two letters at random, which belong to the
// prompt.
func (m *ngram) Sample(n int, temperature float64, r *rand.Rand) (Data, error) {
	q := m
	if temperature != 1 {
		q = &ngram{}
		for a := range letters {
			for b := range letters {
				copy(q.p[a][b][:], tempered(m.p[a][b][:], temperature))
			}
		}
	}
	d := Data{Width: length, Tokens: make([]int32, 0, n*length)}
	for range n {
		a, b := r.IntN(letters), r.IntN(letters)
		d.Tokens = append(d.Tokens, int32(a), int32(b))
		for range length - 2 {
			c := draw(q.p[a][b][:], r)
			d.Tokens = append(d.Tokens, int32(c))
			a, b = b, c
		}
	}
	return d, nil
}

// draw returns an index with its probability.
func draw(p []float64, r *rand.Rand) int {
	u := r.Float64()
	for i, x := range p {
		if u -= x; u < 0 {
			return i
		}
	}
	return len(p) - 1
}

// Entropy is that of a letter, over 200 sentences of the model's own.
func (m *ngram) Entropy(r *rand.Rand) float64 {
	d, err := m.Sample(200, 1, r)
	if err != nil {
		return math.NaN()
	}
	sum, n := 0.0, 0.0
	for i := range d.Len() {
		s := d.Tokens[i*d.Width : (i+1)*d.Width]
		for j := 2; j < len(s); j++ {
			sum += entropyOf(m.p[s[j-2]][s[j-1]][:])
			n++
		}
	}
	return sum / n
}

func (m *ngram) Energy(data Data) float64 {
	e, n := 0.0, 0.0
	for i := range data.Len() {
		s := data.Tokens[i*data.Width : (i+1)*data.Width]
		for j := 2; j < len(s); j++ {
			e -= math.Log(m.p[s[j-2]][s[j-1]][s[j]])
			n++
		}
	}
	return e / n
}

func (m *ngram) Temperature(data Data) float64 {
	energies := make([]float64, letters)
	return likelihoodTemperature(func(yield func([]float64, int) bool) {
		for i := range data.Len() {
			s := data.Tokens[i*data.Width : (i+1)*data.Width]
			for j := 2; j < len(s); j++ {
				for c, p := range m.p[s[j-2]][s[j-1]] {
					energies[c] = -math.Log(p)
				}
				if !yield(energies, int(s[j])) {
					return
				}
			}
		}
	})
}

// distinct is the share of different triples of letters.
func distinct(data Data) float64 {
	seen, n := map[[3]int32]bool{}, 0
	for i := range data.Len() {
		s := data.Tokens[i*data.Width : (i+1)*data.Width]
		for j := 2; j < len(s); j++ {
			seen[[3]int32(s[j-2:j+1])] = true
			n++
		}
	}
	return float64(len(seen)) / float64(n)
}

func (m *ngram) Diversity(data Data) float64 { return distinct(data) }
func (m *ngram) LogVariance(Data) float64    { return math.NaN() }
