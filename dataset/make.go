package dataset

import (
	"bytes"
	_ "embed"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
)

// Streams of the generator, so that a change of one draw leaves the others.
const (
	streamTask  = 1 // teacher, centres, the active bits
	streamData  = 2 // examples and their noise
	streamSplit = 3
)

// Options are the parameters of Make. A count of 0 means the generator's
// default; Noise and Seed are taken as they are ([Defaults] has sensible ones).
type Options struct {
	Examples int     // number of examples
	Features int     // number of features
	Classes  int     // number of classes; 1 makes teacher-student a regression
	Width    int     // hidden units of the MLP teacher
	Modulus  int     // p of modular addition
	Active   int     // bits that count in sparse parity
	Noise    float64 // standard deviation, or for sparse-parity the probability of a flipped label
	Seed     uint64  // of everything random
}

type generator struct {
	name     string
	defaults Options
	make     func(Options) (*Set, error)
}

var generators = []generator{
	{"digits", Options{}, makeDigits},
	{"gaussian-mixture", Options{Examples: 1000, Features: 2, Classes: 3, Noise: 0.5}, makeMixture},
	{"modular-addition", Options{Modulus: 97}, makeModular},
	{"sentences", Options{Examples: 2000, Features: 64}, makeSentences},
	{"sparse-parity", Options{Examples: 1000, Features: 30, Active: 3}, makeParity},
	{"teacher-student", Options{Examples: 1000, Features: 20, Classes: 10, Width: 32}, makeTeacher},
	{"teacher-student-linear", Options{Examples: 1000, Features: 20, Noise: 0.1}, makeLinear},
	{"two-moons", Options{Examples: 1000, Noise: 0.1}, makeMoons},
}

// Names returns the names that Make knows, sorted.
func Names() []string {
	names := make([]string, len(generators))
	for i, g := range generators {
		names[i] = g.name
	}
	return names
}

// Defaults returns the options that Make uses for name where a count is 0, and
// the usual noise.
func Defaults(name string) (Options, error) {
	g, err := find(name)
	return g.defaults, err
}

func find(name string) (generator, error) {
	i := slices.IndexFunc(generators, func(g generator) bool { return g.name == name })
	if i < 0 {
		return generator{}, fmt.Errorf("expected one of %s, got %q", strings.Join(Names(), ", "), name)
	}
	return generators[i], nil
}

// maxValues bounds the features of a made set: 4 GiB of float32.
const maxValues = 1 << 30

// Make generates a data set. The same name and options always give the same
// bytes.
//
//	digits                  1,797 real 8×8 images, pixels in [0, 1], 10 classes; Examples draws fewer
//	gaussian-mixture        x = centre of the class + Noise·N(0, I), centres N(0, I)
//	modular-addition        one-hot a and b, class (a + b) mod Modulus; all pairs in random order, or Examples of them
//	sentences               a text of a small grammar, cut into examples of Features characters (see [Text]); its
//	                        words are drawn independently, which is 0.2322 nats a character
//	sparse-parity           x uniform in ±1, class = parity of Active of them, flipped with probability Noise
//	teacher-student         x ~ N(0, I), class = argmax of a random ReLU network's outputs + Noise·N(0, I)
//	teacher-student-linear  x ~ N(0, I), y = w·x + Noise·N(0, 1), w ~ N(0, 1/Features)
//	two-moons               two interleaved half circles + Noise·N(0, I)
func Make(name string, o Options) (*Set, error) {
	g, err := find(name)
	if err != nil {
		return nil, fmt.Errorf("making a data set: %w", err)
	}
	d := g.defaults
	for _, f := range []struct {
		name     string
		value    *int
		fallback int
	}{
		{"examples", &o.Examples, d.Examples}, {"features", &o.Features, d.Features}, {"classes", &o.Classes, d.Classes},
		{"width", &o.Width, d.Width}, {"modulus", &o.Modulus, d.Modulus}, {"active bits", &o.Active, d.Active},
	} {
		if *f.value < 0 || *f.value > maxValues {
			return nil, fmt.Errorf("making %s: expected a number of %s from 1 to %d, got %d", name, f.name, maxValues, *f.value)
		}
		if *f.value == 0 {
			*f.value = f.fallback
		}
	}
	if !(o.Noise >= 0) || math.IsInf(o.Noise, 0) {
		return nil, fmt.Errorf("making %s: expected noise from 0, got %v", name, o.Noise)
	}
	if values := float64(o.Examples) * float64(max(o.Features, 1)); values > maxValues {
		return nil, fmt.Errorf("making %s: expected at most %d values, got %.3g", name, maxValues, values)
	}
	s, err := g.make(o)
	if err != nil {
		return nil, fmt.Errorf("making %s: %w", name, err)
	}
	return s, nil
}

func newSet(n, features int) *Set {
	return &Set{N: n, Shape: []int{features}, DType: "float32", X: make([]float32, n*features)}
}

func randoms(seed uint64) (task, data *rand.Rand) {
	return rand.New(rand.NewPCG(seed, streamTask)), rand.New(rand.NewPCG(seed, streamData))
}

func normals(out []float32, scale float64, rng *rand.Rand) []float32 {
	for i := range out {
		out[i] = float32(scale * rng.NormFloat64())
	}
	return out
}

func makeLinear(o Options) (*Set, error) {
	task, data := randoms(o.Seed)
	w := normals(make([]float32, o.Features), 1/math.Sqrt(float64(o.Features)), task)
	s := newSet(o.Examples, o.Features)
	s.Outputs, s.Y = 1, make([]float32, s.N)
	for i := range s.N {
		x := normals(s.X[i*o.Features:][:o.Features], 1, data)
		s.Y[i] = float32(dot(w, x) + o.Noise*data.NormFloat64())
	}
	return s, nil
}

// makeTeacher draws a teacher by He's law, so that its outputs are of order one.
func makeTeacher(o Options) (*Set, error) {
	if o.Classes > MaxClasses {
		return nil, fmt.Errorf("expected at most %d classes, got %d", MaxClasses, o.Classes)
	}
	if float64(o.Width)*float64(o.Features+o.Classes) > maxValues {
		return nil, fmt.Errorf("expected a teacher of at most %d weights", maxValues)
	}
	task, data := randoms(o.Seed)
	in := normals(make([]float32, o.Width*o.Features), math.Sqrt(2/float64(o.Features)), task)
	out := normals(make([]float32, o.Classes*o.Width), math.Sqrt(2/float64(o.Width)), task)
	s := newSet(o.Examples, o.Features)
	hidden, logits := make([]float32, o.Width), make([]float64, o.Classes)
	labels := make([]int32, s.N)
	for i := range s.N {
		x := normals(s.X[i*o.Features:][:o.Features], 1, data)
		for j := range hidden {
			hidden[j] = float32(max(dot(in[j*o.Features:][:o.Features], x), 0))
		}
		for c := range logits {
			logits[c] = dot(out[c*o.Width:][:o.Width], hidden) + o.Noise*data.NormFloat64()
			if logits[c] > logits[labels[i]] {
				labels[i] = int32(c)
			}
		}
		if o.Classes == 1 {
			s.Y = append(s.Y, float32(logits[0]))
		}
	}
	if o.Classes == 1 {
		s.Outputs = 1
		return s, nil
	}
	s.Labels, s.Classes = labels, o.Classes
	return s, nil
}

func makeMixture(o Options) (*Set, error) {
	if o.Classes > MaxClasses || float64(o.Classes)*float64(o.Features) > maxValues {
		return nil, fmt.Errorf("expected fewer classes, got %d", o.Classes)
	}
	task, data := randoms(o.Seed)
	centres := normals(make([]float32, o.Classes*o.Features), 1, task)
	s := newSet(o.Examples, o.Features)
	s.Labels, s.Classes = make([]int32, s.N), o.Classes
	for i := range s.N {
		c := i % o.Classes // balanced to within one
		s.Labels[i] = int32(c)
		x := normals(s.X[i*o.Features:][:o.Features], o.Noise, data)
		for j := range x {
			x[j] += centres[c*o.Features+j]
		}
	}
	return s, nil
}

func makeMoons(o Options) (*Set, error) {
	if o.Features != 0 && o.Features != 2 {
		return nil, fmt.Errorf("expected 2 features, got %d", o.Features)
	}
	_, data := randoms(o.Seed)
	s := newSet(o.Examples, 2)
	s.Labels, s.Classes = make([]int32, s.N), 2
	for i := range s.N {
		sin, cos := math.Sincos(math.Pi * data.Float64())
		if s.Labels[i] = int32(i % 2); s.Labels[i] == 1 {
			cos, sin = 1-cos, 0.5-sin
		}
		s.X[2*i] = float32(cos + o.Noise*data.NormFloat64())
		s.X[2*i+1] = float32(sin + o.Noise*data.NormFloat64())
	}
	return s, nil
}

func makeModular(o Options) (*Set, error) {
	p := o.Modulus
	if p < 2 || p > 1024 {
		return nil, fmt.Errorf("expected a modulus from 2 to 1024, got %d", p)
	}
	if o.Examples == 0 {
		o.Examples = p * p
	}
	if o.Examples > p*p || o.Examples*2*p > maxValues {
		return nil, fmt.Errorf("expected at most %d examples (all pairs, %d values), got %d", p*p, maxValues, o.Examples)
	}
	_, data := randoms(o.Seed)
	s := newSet(o.Examples, 2*p)
	s.Labels, s.Classes = make([]int32, s.N), p
	for i, pair := range data.Perm(p * p)[:s.N] {
		a, b := pair/p, pair%p
		s.X[i*2*p+a], s.X[i*2*p+p+b] = 1, 1
		s.Labels[i] = int32((a + b) % p)
	}
	return s, nil
}

func makeParity(o Options) (*Set, error) {
	if o.Active > o.Features {
		return nil, fmt.Errorf("expected at most as many active bits as features (%d), got %d", o.Features, o.Active)
	}
	if o.Noise > 1 {
		return nil, fmt.Errorf("expected a flip probability (noise) of at most 1, got %v", o.Noise)
	}
	task, data := randoms(o.Seed)
	active := task.Perm(o.Features)[:o.Active]
	s := newSet(o.Examples, o.Features)
	s.Labels, s.Classes = make([]int32, s.N), 2
	for i := range s.N {
		x := s.X[i*o.Features:][:o.Features]
		for j := range x {
			x[j] = float32(2*data.IntN(2) - 1)
		}
		for _, j := range active {
			if x[j] < 0 {
				s.Labels[i] ^= 1
			}
		}
		if data.Float64() < o.Noise {
			s.Labels[i] ^= 1
		}
	}
	return s, nil
}

//go:embed digits/digits.csv.gz
var digits []byte

func makeDigits(o Options) (*Set, error) {
	text, err := gunzip(digits)
	if err != nil {
		return nil, err
	}
	s, err := parseCSV(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	s.DType = "float32"
	for i := range s.X {
		s.X[i] /= 16
	}
	if o.Examples > s.N {
		return nil, fmt.Errorf("expected at most %d examples, got %d", s.N, o.Examples)
	}
	if o.Examples == 0 {
		return s, nil
	}
	_, data := randoms(o.Seed)
	return s.Select(data.Perm(s.N)[:o.Examples]), nil
}

func dot(a, b []float32) float64 {
	var sum float64
	for i, v := range a {
		sum += float64(v) * float64(b[i])
	}
	return sum
}
