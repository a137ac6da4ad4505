package collapse

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/kelvin-ml/kelvin/nn"
)

// transformer is a small causal transformer over letters,
// trained from nothing in every generation.
type transformer struct {
	network *nn.Network[float32]
	batch   nn.Batch[float32]
}

// How the transformer is trained.
const (
	trainSteps = 300
	trainBatch = 32
	width      = 32
)

// NewTransformer returns a world of sentences in which only the last letter counts
// for the next, refitted by a transformer of one block. The world of NewNgram would
// take more training than a generation can have here.
func NewTransformer() *World {
	truth := language(false)
	return &World{Name: "transformer", Truth: truth, New: func() Model { return &transformer{} }, Tail: rare(truth)}
}

// block is the network: letters so far to logits of the next, at every position.
func block() nn.Spec {
	return nn.Spec{Input: []int{length - 1}, Loss: "ce", Layers: []nn.LayerSpec{
		{Type: "embedding", Vocab: letters, Out: width},
		{Type: "position", Name: "x"},
		{Type: "rmsnorm"},
		{Type: "attention", Name: "attention", Heads: 4, Causal: true},
		{Type: "add", Name: "y", Inputs: []string{"x", "attention"}},
		{Type: "rmsnorm"},
		{Type: "linear", Out: 4 * width},
		{Type: "gelu"},
		{Type: "linear", Name: "mlp", Out: width},
		{Type: "add", Inputs: []string{"y", "mlp"}},
		{Type: "rmsnorm"},
		{Type: "linear", Out: letters},
	}}
}

func (m *transformer) Fit(data Data, r *rand.Rand) error {
	network, err := nn.New[float32](block())
	if err != nil {
		return fmt.Errorf("transformer: %w", err)
	}
	if err := network.Init("pytorch", r); err != nil {
		return fmt.Errorf("transformer: %w", err)
	}
	optimizer, err := nn.NewOptimizer[float32](nn.OptimizerSpec{Kind: "adam", LearningRate: 1e-2}, len(network.Params))
	if err != nil {
		return fmt.Errorf("transformer: %w", err)
	}
	m.network = network
	for step := range trainSteps {
		optimizer.Spec.LearningRate = 1e-2 * 0.5 * (1 + math.Cos(math.Pi*float64(step)/trainSteps))
		m.load(data, trainBatch, func(int) int { return r.IntN(data.Len()) })
		e, err := network.Backward(m.batch, nil)
		if err != nil {
			return fmt.Errorf("transformer: %w", err)
		}
		if math.IsNaN(e) || math.IsInf(e, 0) {
			return fmt.Errorf("transformer: the energy is %g at step %d", e, step)
		}
		optimizer.Step(network.Params, network.Grad)
	}
	return nil
}

// load fills the batch with n sentences.
func (m *transformer) load(data Data, n int, which func(int) int) {
	m.batch.N = n
	m.batch.X, m.batch.Labels = m.batch.X[:0], m.batch.Labels[:0]
	for i := range n {
		s := data.Tokens[which(i)*data.Width:][:data.Width]
		for j := range length - 1 {
			m.batch.X = append(m.batch.X, float32(s[j]))
			m.batch.Labels = append(m.batch.Labels, s[j+1])
		}
	}
}

// Sample writes all sentences at once, letter by letter.
func (m *transformer) Sample(n int, temperature float64, r *rand.Rand) (Data, error) {
	d := Data{Width: length, Tokens: make([]int32, n*length)}
	for i := range n {
		d.Tokens[i*length], d.Tokens[i*length+1] = int32(r.IntN(letters)), int32(r.IntN(letters))
	}
	p := make([]float64, letters)
	for at := 2; at < length; at++ {
		m.load(d, n, func(i int) int { return i })
		if _, err := m.network.Energy(m.batch); err != nil {
			return Data{}, fmt.Errorf("transformer: %w", err)
		}
		outputs := m.network.Outputs()
		for i := range n {
			logits := outputs[(i*(length-1)+at-1)*letters:][:letters]
			softmax(p, logits, temperature)
			d.Tokens[i*length+at] = int32(draw(p, r))
		}
	}
	return d, nil
}

// softmax sets p to the probabilities of logits at a temperature.
func softmax(p []float64, logits []float32, temperature float64) {
	largest, sum := math.Inf(-1), 0.0
	for _, z := range logits {
		largest = math.Max(largest, float64(z))
	}
	for i, z := range logits {
		p[i] = math.Exp((float64(z) - largest) / temperature)
		sum += p[i]
	}
	for i := range p {
		p[i] /= sum
	}
}

// over calls f with the model's probabilities at every letter of the data that is
// not of a prompt.
func (m *transformer) over(data Data, f func(p []float64, letter int)) {
	const most = 256
	p := make([]float64, letters)
	for first := 0; first < data.Len(); first += most {
		n := min(most, data.Len()-first)
		m.load(data, n, func(i int) int { return first + i })
		if _, err := m.network.Energy(m.batch); err != nil {
			panic(err) // the data have been through Fit
		}
		outputs := m.network.Outputs()
		for i := range n {
			for j := 2; j < length; j++ {
				softmax(p, outputs[(i*(length-1)+j-1)*letters:][:letters], 1)
				f(p, int(data.Tokens[(first+i)*length+j]))
			}
		}
	}
}

func (m *transformer) Entropy(r *rand.Rand) float64 {
	d, err := m.Sample(100, 1, r)
	if err != nil {
		return math.NaN()
	}
	sum, n := 0.0, 0.0
	m.over(d, func(p []float64, _ int) {
		sum += entropyOf(p)
		n++
	})
	return sum / n
}

func (m *transformer) Energy(data Data) float64 {
	sum, n := 0.0, 0.0
	m.over(data, func(p []float64, letter int) {
		sum -= math.Log(p[letter])
		n++
	})
	return sum / n
}

func (m *transformer) Temperature(data Data) float64 {
	energies := make([]float64, letters)
	return likelihoodTemperature(func(yield func([]float64, int) bool) {
		more := true
		m.over(data, func(p []float64, letter int) {
			for c := range p {
				energies[c] = -math.Log(math.Max(p[c], 1e-300))
			}
			more = more && yield(energies, letter)
		})
	})
}

func (m *transformer) Diversity(data Data) float64 { return distinct(data) }
func (m *transformer) LogVariance(Data) float64    { return math.NaN() }
