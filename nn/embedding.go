package nn

import (
	"fmt"

	"github.com/kelvin-ml/kelvin/nn/internal/kernel"
)

// embedding looks tokens up in a table. The tokens are the network's input, as
// whole numbers.
type embedding[T Float] struct {
	vocab, width int
	w            span
	sum          []T // gradient of one row of the table
	done         []bool
}

func (b *builder[T]) embedding(l LayerSpec, x *node[T]) (*node[T], error) {
	if x != b.nodes[0] {
		return nil, fmt.Errorf("expected to read the input, which holds the tokens")
	}
	if b.vocab != 0 && b.vocab != l.Vocab {
		return nil, fmt.Errorf("vocab: %d here, but %d in another layer that reads the same tokens", l.Vocab, b.vocab)
	}
	o := &embedding[T]{vocab: l.Vocab, width: l.Out}
	var err error
	if o.w, err = b.param(l.Name, "weight", initializer{kind: embeddingTensor, fanIn: 1, fanOut: l.Out, rows: l.Vocab, node: len(b.nodes)}, l.Vocab, l.Out); err != nil {
		return nil, err
	}
	if x.size > maxDimension/l.Out {
		return nil, fmt.Errorf("%d tokens × %d features: expected at most %d", x.size, l.Out, maxDimension)
	}
	o.sum, o.done = make([]T, l.Out), make([]bool, x.size)
	b.vocab = l.Vocab
	return b.add(l, o, append(append([]int{}, x.shape...), l.Out), true, x)
}

func (o *embedding[T]) row(table []T, token T) []T {
	return table[int(token)*o.width : (int(token)+1)*o.width]
}

func (o *embedding[T]) look(table, tokens, y []T) {
	for r, token := range tokens {
		copy(y[r*o.width:(r+1)*o.width], o.row(table, token))
	}
}

func (o *embedding[T]) gather(table, tokens, d []T) {
	clear(table)
	for r, token := range tokens {
		addTo(o.row(table, token), d[r*o.width:(r+1)*o.width])
	}
}

func (o *embedding[T]) forward(p *pass[T], y *node[T]) { o.look(of(o.w, p.params), y.in[0].a, y.a) }
func (o *embedding[T]) tangent(p *pass[T], y *node[T]) { o.look(of(o.w, p.v), y.in[0].a, y.at) }

func (o *embedding[T]) backward(p *pass[T], y *node[T]) {
	if p.grad != nil {
		o.gather(of(o.w, p.grad), y.in[0].a, y.d)
	}
	if p.obs != nil {
		o.observe(p, y)
	}
}

func (o *embedding[T]) cotangent(p *pass[T], y *node[T]) {
	o.gather(of(o.w, p.hv), y.in[0].a, y.dt)
}

// observe adds the virial Σ y·δ, and the squared norms of the gradients that
// each token's positions add up to.
func (o *embedding[T]) observe(p *pass[T], y *node[T]) {
	length := len(o.done)
	n := float64(p.n)
	for i := range p.n {
		tokens := y.in[0].a[i*length : (i+1)*length]
		d := y.d[i*y.size : (i+1)*y.size]
		p.observe(y.group, i, y.a[i*y.size:(i+1)*y.size], d, nil)
		clear(o.done)
		for r, token := range tokens {
			if o.done[r] {
				continue
			}
			copy(o.sum, d[r*o.width:])
			for s := r + 1; s < length; s++ {
				if tokens[s] == token {
					o.done[s] = true
					addTo(o.sum, d[s*o.width:(s+1)*o.width])
				}
			}
			p.obs.GradNorm2[y.group][i] += n * n * kernel.SumSquares(o.sum)
		}
	}
}

// position adds a learned vector to every position: y = x + w, w of the shape
// of one example.
type position[T Float] struct{ w span }

func (b *builder[T]) position(l LayerSpec, x *node[T]) (*node[T], error) {
	w, err := b.param(l.Name, "weight", initializer{kind: embeddingTensor, fanIn: 1, fanOut: x.shape[len(x.shape)-1], rows: x.shape[0], node: len(b.nodes)}, x.shape...)
	if err != nil {
		return nil, err
	}
	return b.add(l, &position[T]{w}, x.shape, true, x)
}

func (o *position[T]) forward(p *pass[T], y *node[T]) {
	copy(y.a, y.in[0].a)
	o.addRows(of(o.w, p.params), y.a)
}

func (o *position[T]) addRows(w, y []T) {
	for i := range len(y) / len(w) {
		addTo(y[i*len(w):(i+1)*len(w)], w)
	}
}

func (o *position[T]) sumRows(d, w []T) {
	clear(w)
	for i := range len(d) / len(w) {
		addTo(w, d[i*len(w):(i+1)*len(w)])
	}
}

func (o *position[T]) backward(p *pass[T], y *node[T]) {
	if p.grad != nil {
		o.sumRows(y.d, of(o.w, p.grad))
	}
	if p.obs != nil {
		for i := range p.n {
			d := y.d[i*y.size : (i+1)*y.size]
			p.observe(y.group, i, of(o.w, p.params), d, d)
		}
	}
	if x := y.in[0]; x.needs {
		addAdjoint(x.claim(), x.d, y.d)
	}
}

func (o *position[T]) tangent(p *pass[T], y *node[T]) {
	clear(y.at)
	if x := y.in[0]; x.needs {
		copy(y.at, x.at)
	}
	o.addRows(of(o.w, p.v), y.at)
}

func (o *position[T]) cotangent(p *pass[T], y *node[T]) {
	o.sumRows(y.dt, of(o.w, p.hv))
	if x := y.in[0]; x.needs {
		addAdjoint(x.claimTangent(), x.dt, y.dt)
	}
}
