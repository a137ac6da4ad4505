package nn

import (
	"fmt"
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/mat"

	"github.com/kelvin-ml/kelvin/theory"
)

// tensorKind says what an initialisation scheme may do to a parameter tensor.
type tensorKind int

const (
	weightTensor    tensorKind = iota // drawn with a variance from the fans
	biasTensor                        // zero unless the scheme says otherwise
	embeddingTensor                   // normal, variance 1 unless the scheme says otherwise: one row is looked up at a time
	gainTensor                        // of a normalisation: 1
	shiftTensor                       // of a normalisation: 0
)

// initializer is what the schemes need to know of one parameter tensor.
type initializer struct {
	kind          tensorKind
	fanIn, fanOut int
	rows          int // of a weight seen as a matrix
	node          int // index of the node the tensor belongs to
}

// A Scale is the distribution that an initialisation draws one parameter tensor
// from. Its entropy is that of Size independent elements of the Distribution
// (for "orthogonal" the elements are dependent, and no density exists).
type Scale struct {
	Group, Tensor string
	Size          int
	Distribution  string // "normal", "uniform", "mixed" (elements alternately normal and uniform), "orthogonal" or "constant"
	Mean, Std     float64
}

// InitScales returns the distribution of every parameter tensor under an
// initialisation scheme, in the order of the parameters. The schemes are
//
//	normal, uniform, mixed  variance σw²/fan_in, biases variance σb²; σw = 1, σb = 0 unless
//	                        given, as in normal(1.5) or uniform(1.5,0.1)
//	he                      normal, variance 2/fan_in (He et al., arXiv 1502.01852)
//	glorot                  uniform, variance 2/(fan_in + fan_out) (Glorot & Bengio 2010)
//	lecun                   normal, variance 1/fan_in (LeCun et al. 1998)
//	orthogonal              orthonormal rows or columns times a gain of 1, or as in orthogonal(1.41)
//	balanced                normal, variance 1/(fan_in(1 − η_φ(q))): every layer restores the signal
//	                        energy q its activation takes out; q is followed through the layers from
//	                        the mean square of the input, 1 or as in balanced(0.3) (docs/theory.md#t5)
//	pytorch                 torch.nn.Linear's default: weights and biases uniform in ±1/√fan_in
//
// where biases are zero unless said otherwise. Embeddings are normal of variance
// 1, or as normal(σw), uniform(σw) and mixed(σw) say; the gains of normalisations
// are 1, their shifts 0.
func (n *Network[T]) InitScales(scheme string) ([]Scale, error) {
	kind, arguments, err := parseCall(scheme)
	if err != nil {
		return nil, fmt.Errorf("initialisation %w", err)
	}
	most := map[string]int{"normal": 2, "uniform": 2, "mixed": 2, "orthogonal": 1, "balanced": 1}[kind]
	if len(arguments) > most {
		return nil, fmt.Errorf("initialisation %q: %s takes at most %d numbers", scheme, kind, most)
	}
	given := []float64{1, 0}
	copy(given, arguments)
	if !(given[0] > 0) || given[1] < 0 {
		return nil, fmt.Errorf("initialisation %q: expected a positive scale, and none negative", scheme)
	}
	law := initLaw{bias: given[1]}
	switch kind {
	case "normal", "uniform", "mixed":
		law.distribution, law.embedding = kind, given[0]
		law.variance = func(i initializer) float64 { return given[0] * given[0] / float64(i.fanIn) }
	case "orthogonal":
		law.distribution = kind
		law.variance = func(i initializer) float64 { return given[0] * given[0] / float64(max(i.fanIn, i.rows)) }
	case "he":
		law.distribution, law.variance = "normal", func(i initializer) float64 { return 2 / float64(i.fanIn) }
	case "glorot":
		law.distribution, law.variance = "uniform", func(i initializer) float64 { return 2 / float64(i.fanIn+i.fanOut) }
	case "lecun":
		law.distribution, law.variance = "normal", func(i initializer) float64 { return 1 / float64(i.fanIn) }
	case "balanced":
		restore, err := n.balance(given[0])
		if err != nil {
			return nil, fmt.Errorf("initialisation %q: %w", scheme, err)
		}
		law.distribution, law.variance = "normal", func(i initializer) float64 { return restore[i.node] / float64(i.fanIn) }
	case "pytorch":
		law.distribution, law.pytorch = "uniform", true
		law.variance = func(i initializer) float64 { return 1 / (3 * float64(i.fanIn)) }
	default:
		return nil, fmt.Errorf("initialisation %q: expected normal, uniform, mixed, he, glorot, lecun, orthogonal, balanced or pytorch", scheme)
	}
	return n.scales(law), nil
}

// initLaw is a scheme with its numbers.
type initLaw struct {
	distribution string
	variance     func(initializer) float64
	bias         float64 // standard deviation
	embedding    float64 // standard deviation; 0 for the default
	pytorch      bool    // biases are drawn as the weights
}

func (n *Network[T]) scales(law initLaw) []Scale {
	var scales []Scale
	for _, g := range n.Groups {
		for _, t := range g.Tensors {
			init := n.inits[len(scales)]
			s := Scale{Group: g.Name, Tensor: t.Name, Size: t.Size(), Distribution: law.distribution}
			switch {
			case init.kind == weightTensor, init.kind == biasTensor && law.pytorch:
				s.Std = math.Sqrt(law.variance(init))
			case init.kind == biasTensor && law.bias > 0:
				s.Std = law.bias
			case init.kind == embeddingTensor:
				s.Std = law.embedding
				if law.embedding == 0 {
					s.Distribution, s.Std = "normal", 1
				}
			case init.kind == gainTensor:
				s.Distribution, s.Mean = "constant", 1
			default:
				s.Distribution = "constant"
			}
			scales = append(scales, s)
		}
	}
	return scales
}

// balance returns, for each node, the factor 1/(1 − η) by which its weights must
// raise the signal energy to restore what the activations before it took out.
// Pooling and attention are taken to leave it as it is.
func (n *Network[T]) balance(q float64) ([]float64, error) {
	type energy struct{ target, now float64 }
	energies := map[*node[T]]energy{n.nodes[0]: {q, q}}
	restore := make([]float64, len(n.nodes))
	for i, y := range n.nodes[1:] {
		e := energies[y.in[0]]
		switch o := y.op.(type) {
		case *linear[T], *conv[T]:
			restore[i+1] = e.target / e.now
			e.now = e.target
		case *norm[T], *batchNorm[T], *embedding[T]:
			e = energy{1, 1}
		case *position[T]:
			e = energy{e.target + 1, e.now + 1}
		case sum[T]:
			for _, x := range y.in[1:] {
				e.target += energies[x].target
				e.now += energies[x].now
			}
		case *activate[T]:
			phi, err := theory.ActivationByName(o.act.name)
			if err != nil {
				return nil, err
			}
			work, err := phi.Efficiency(e.now)
			if err != nil {
				return nil, err
			}
			e.now *= 1 - work.Efficiency
			if !(e.now > 0) {
				return nil, fmt.Errorf("layer %q (%s) passes no signal energy", y.name, y.kind)
			}
		}
		energies[y] = e
	}
	return restore, nil
}

// Init draws all parameters by the scheme that InitScales describes and resets
// State. The draws are the same in float32 and float64, up to rounding.
func (n *Network[T]) Init(scheme string, rng *rand.Rand) error {
	scales, err := n.InitScales(scheme)
	if err != nil {
		return err
	}
	n.resetState()
	i := 0
	for _, g := range n.Groups {
		for _, t := range g.Tensors {
			draw(scales[i], n.inits[i], n.Params[t.Offset:t.Offset+t.Size()], rng)
			i++
		}
	}
	return nil
}

// draw fills a tensor from its distribution.
func draw[T Float](s Scale, init initializer, tensor []T, rng *rand.Rand) {
	uniform := func() float64 { return math.Sqrt(3) * (2*rng.Float64() - 1) }
	switch s.Distribution {
	case "normal":
		for i := range tensor {
			tensor[i] = T(s.Mean + s.Std*rng.NormFloat64())
		}
	case "uniform":
		for i := range tensor {
			tensor[i] = T(s.Mean + s.Std*uniform())
		}
	case "mixed":
		for i := range tensor {
			x := uniform
			if i%2 == 0 {
				x = rng.NormFloat64
			}
			tensor[i] = T(s.Mean + s.Std*x())
		}
	case "orthogonal":
		columns := len(tensor) / init.rows
		drawOrthogonal(s.Std*math.Sqrt(float64(max(init.rows, columns))), init.rows, columns, tensor, rng)
	default:
		for i := range tensor {
			tensor[i] = T(s.Mean)
		}
	}
}

// drawOrthogonal fills a rows×columns matrix with gain times a matrix whose
// shorter side is orthonormal, uniform by Haar measure: the Q of a Gaussian
// matrix with the signs of R's diagonal (Mezzadri, arXiv math-ph/0609050).
func drawOrthogonal[T Float](gain float64, rows, columns int, tensor []T, rng *rand.Rand) {
	long, short := max(rows, columns), min(rows, columns)
	gaussian := mat.NewDense(long, short, nil)
	for i := range long {
		for j := range short {
			gaussian.Set(i, j, rng.NormFloat64())
		}
	}
	var qr mat.QR
	qr.Factorize(gaussian)
	var q, r mat.Dense
	qr.QTo(&q)
	qr.RTo(&r)
	for i := range rows {
		for j := range columns {
			a, b := i, j
			if rows < columns {
				a, b = j, i
			}
			tensor[i*columns+j] = T(gain * math.Copysign(1, r.At(b, b)) * q.At(a, b))
		}
	}
}
