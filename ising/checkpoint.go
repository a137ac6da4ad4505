package ising

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"hash/crc64"
	"io"
	"os"
	"path/filepath"
	"time"
)

// A saved simulation is checkpointMagic, the length of a JSON header, the
// header, the spins of each chain in little-endian words, and a CRC-64.
const checkpointMagic = "kelvin/ising/2\n\n"

// maxHeader bounds the header: streams and batches, not spins.
const maxHeader = 1 << 28

type header struct {
	Config Config        `json:"config"`
	Chains []stateRecord `json:"chains"`
}

// stateRecord is a chain without its spins.
type stateRecord struct {
	Done     int           `json:"done"`
	Busy     time.Duration `json:"busy"`
	Updates  int64         `json:"updates"`
	Settled  bool          `json:"settled"`
	Series   batches       `json:"series"`
	Groups   []moments     `json:"groups,omitempty"`
	Measured int           `json:"measured"`
	RNG      [][]byte      `json:"rng"`
	Lanes    []lanesState  `json:"lanes,omitempty"`
	Gaps     []int64       `json:"gaps,omitempty"`
	PerSweep int           `json:"per_sweep,omitempty"`
	Flipped  int64         `json:"flipped"`
}

var crcTable = crc64.MakeTable(crc64.ECMA)

// Save writes the simulation to a file, whole or not at all. A simulation
// loaded from it goes on as this one would, bit for bit.
func (s *Simulation) Save(path string) error {
	return writeWhole(path, func(f io.Writer) error {
		sum := crc64.New(crcTable)
		if err := s.write(io.MultiWriter(f, sum)); err != nil {
			return err
		}
		return binary.Write(f, binary.LittleEndian, sum.Sum64())
	})
}

// writeWhole writes a file whole or not at all: beside it first, then over it.
func writeWhole(path string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, errors.Unwrap(err)) // without the temporary name
	}
	defer os.Remove(f.Name()) // fails after the rename
	w := bufio.NewWriterSize(f, 1<<20)
	if err = write(w); err == nil {
		err = errors.Join(w.Flush(), f.Chmod(0o644), f.Sync())
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}

func (s *Simulation) write(w io.Writer) error {
	h := header{Config: s.Config}
	for _, c := range s.chains {
		r := stateRecord{Done: c.done, Busy: c.busy, Updates: c.updates, Settled: c.settled, Series: c.series, Groups: c.groups, Measured: c.measured}
		c.lattice.snapshot(&r)
		h.Chains = append(h.Chains, r)
	}
	text, err := json.Marshal(h)
	if err != nil {
		return err
	}
	if len(text) > maxHeader {
		return fmt.Errorf("%d chains are too many to save", len(s.chains))
	}
	prefix := binary.LittleEndian.AppendUint64([]byte(checkpointMagic), uint64(len(text)))
	if _, err := w.Write(append(prefix, text...)); err != nil {
		return err
	}
	for _, c := range s.chains {
		if err := c.lattice.transfer(func(words []uint64) error {
			return binary.Write(w, binary.LittleEndian, words)
		}); err != nil {
			return err
		}
	}
	return nil
}

// Load reads a simulation that Save wrote.
func Load(path string) (*Simulation, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("loading a simulation: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("loading a simulation: %w", err)
	}
	s, err := read(bufio.NewReaderSize(f, 1<<20), info.Size())
	if err != nil {
		return nil, fmt.Errorf("loading a simulation from %s: %w", path, err)
	}
	return s, nil
}

// read reads a saved simulation of the given length in all.
func read(r io.Reader, length int64) (*Simulation, error) {
	sum := crc64.New(crcTable)
	summed := io.TeeReader(r, sum)
	prefix := make([]byte, len(checkpointMagic)+8)
	if _, err := io.ReadFull(summed, prefix); err != nil || string(prefix[:len(checkpointMagic)]) != checkpointMagic {
		return nil, errors.New("not a saved simulation")
	}
	size := binary.LittleEndian.Uint64(prefix[len(checkpointMagic):])
	if size > maxHeader || int64(size) > length {
		return nil, fmt.Errorf("header of %d bytes in a file of %d", size, length)
	}
	text := make([]byte, size)
	if _, err := io.ReadFull(summed, text); err != nil {
		return nil, fmt.Errorf("truncated header: %w", err)
	}
	var h header
	if err := json.Unmarshal(text, &h); err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	if err := h.Config.Validate(); err != nil {
		return nil, err
	}
	// Sizes follow from the configuration; check them before any is allocated.
	spins := h.Config.savedBytes()
	if want := int64(len(prefix)) + int64(size) + spins + crc64.Size; want != length {
		return nil, fmt.Errorf("expected a file of %d bytes, got %d", want, length)
	}
	s, err := New(h.Config)
	if err != nil {
		return nil, err
	}
	return s, s.fillFrom(h, summed, sum, r)
}

// fillFrom restores the chains.
func (s *Simulation) fillFrom(h header, summed io.Reader, sum hash.Hash64, r io.Reader) error {
	if len(h.Chains) != len(s.chains) {
		return fmt.Errorf("expected %d chains, got %d", len(s.chains), len(h.Chains))
	}
	for i, c := range s.chains {
		rec := &h.Chains[i]
		if err := rec.check(s.Total()); err != nil {
			return fmt.Errorf("chain %d: %w", i, err)
		}
		if err := c.lattice.restore(rec); err != nil {
			return fmt.Errorf("chain %d: %w", i, err)
		}
		if len(rec.Groups) != len(c.groups) {
			return fmt.Errorf("chain %d: expected %d groups of replicas, got %d", i, len(c.groups), len(rec.Groups))
		}
		c.done, c.busy, c.updates, c.settled, c.series = rec.Done, rec.Busy, rec.Updates, rec.Settled, rec.Series
		c.groups, c.measured = rec.Groups, rec.Measured
		if err := c.lattice.transfer(func(words []uint64) error {
			return binary.Read(summed, binary.LittleEndian, words)
		}); err != nil {
			return fmt.Errorf("chain %d: truncated: %w", i, err)
		}
	}
	want := sum.Sum64()
	var got uint64
	if err := binary.Read(r, binary.LittleEndian, &got); err != nil || got != want {
		return errors.New("the checksum does not match: the file is damaged")
	}
	return nil
}

// check refuses numbers that no run writes.
func (r *stateRecord) check(total int) error {
	b := r.Series
	if r.Done < 0 || r.Done > total || r.Measured < 0 || r.Measured > r.Done || r.Updates < 0 || r.Busy < 0 || r.Flipped < 0 || r.PerSweep < 0 || r.PerSweep > 1<<33 ||
		b.Length < 0 || b.Length > maxSweeps || b.Length == 0 && (b.Filled != 0 || len(b.Full) != 0) ||
		len(b.Full) >= maxBatches || b.Filled < 0 || b.Filled > b.Length {
		return errors.New("the record contradicts itself")
	}
	return nil
}

// savedBytes is the size of the spins in a file.
func (c Config) savedBytes() int64 {
	per := c.perChain()
	chains := int64(len(c.Temperatures)) * int64((c.Replicas+per-1)/per)
	if c.onBits() {
		p := packedShape(c.Model.Size, per > 1)
		return chains * 2 * 8 * int64(c.Model.Size*p.stride+lanes)
	}
	if c.Algorithm == SwendsenWang {
		return chains * 8 * int64(c.Model.Size) * int64((c.Model.Size+63)/64)
	}
	return chains * 8 * int64((c.Model.sites()+63)/64)
}

func (p *packed) settle() {}

func (p *packed) updated() int64 {
	return int64(p.sweeps) * int64(p.size) * int64(p.size) * int64(p.replicas)
}

func (p *packed) snapshot(s *stateRecord) {
	s.Flipped = int64(p.sweeps)
	for i := range p.bands {
		b := &p.bands[i]
		text, _ := b.rng.MarshalBinary() // a PCG has no error to report
		s.RNG = append(s.RNG, text)
		s.Lanes = append(s.Lanes, b.state)
		s.Gaps = append(s.Gaps, b.gap)
	}
}

func (p *packed) restore(s *stateRecord) error {
	if len(s.RNG) != len(p.bands) || len(s.Lanes) != len(p.bands) || len(s.Gaps) != len(p.bands) {
		return fmt.Errorf("expected the state of %d bands, got %d, %d, %d", len(p.bands), len(s.RNG), len(s.Lanes), len(s.Gaps))
	}
	p.sweeps = int(s.Flipped)
	for i := range p.bands {
		b := &p.bands[i]
		if s.Gaps[i] < 0 {
			return errors.New("negative gap to the next event")
		}
		b.state, b.gap = s.Lanes[i], s.Gaps[i]
		if err := b.rng.UnmarshalBinary(s.RNG[i]); err != nil {
			return err
		}
	}
	return nil
}

func (p *packed) transfer(move func([]uint64) error) error {
	for c := range p.spins {
		if err := inParts(p.spins[c], move); err != nil {
			return err
		}
	}
	return nil
}

// inParts moves words in parts, so that a large lattice takes no second one.
func inParts(words []uint64, move func([]uint64) error) error {
	for len(words) > 0 {
		n := min(len(words), 1<<16)
		if err := move(words[:n]); err != nil {
			return err
		}
		words = words[n:]
	}
	return nil
}

func (g *graph) updated() int64 { return g.flipped }

func (g *graph) snapshot(s *stateRecord) {
	text, _ := g.rng.MarshalBinary()
	s.RNG = [][]byte{text}
	s.PerSweep, s.Flipped = g.perSweep, g.flipped
}

func (g *graph) restore(s *stateRecord) error {
	if len(s.RNG) != 1 {
		return fmt.Errorf("expected one random stream, got %d", len(s.RNG))
	}
	g.perSweep, g.flipped = s.PerSweep, s.Flipped
	return g.rng.UnmarshalBinary(s.RNG[0])
}

func (g *graph) transfer(move func([]uint64) error) error {
	words := make([]uint64, 1<<10)
	for start := 0; start < len(g.spins); start += 64 * len(words) {
		part := g.spins[start:min(start+64*len(words), len(g.spins))]
		words := words[:(len(part)+63)/64]
		clear(words)
		for i, s := range part {
			if s > 0 {
				words[i/64] |= 1 << (i % 64)
			}
		}
		if err := move(words); err != nil {
			return err
		}
		for i := range part {
			part[i] = int8(words[i/64]>>(i%64)&1)*2 - 1
		}
	}
	return nil
}
