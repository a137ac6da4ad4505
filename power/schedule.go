package power

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
)

const maxStages, maxMicrobatches = 1024, 1 << 16

// An Instruction is one activity of a pipeline.
type Instruction struct {
	Operation
	Microbatch int `json:"microbatch"`
}

// A Pipeline is the instructions of one training step, and which wait for which.
type Pipeline struct {
	Stages       int
	Instructions []Instruction
	After        [][]int
}

// NewPipeline returns the graph of a schedule:
//
//   - "1f1b": one forward, one backward, with as many microbatches in flight as
//     stages follow (PipeDream-Flush; Narayanan et al., ICML 2021)
//   - "gpipe": all forward, then all backward (Huang et al., NeurIPS 2019)
//   - "interleaved": 1f1b of stages that hold several chunks of the model, chunk c of
//     stage s being part c·stages + s of it, as Megatron-LM orders them (Narayanan et
//     al., SC 2021). Microbatches must be a multiple of the stages.
//
// A stage does its instructions in order, each after those of its neighbours that
// it needs.
func NewPipeline(schedule string, stages, chunks, microbatches int) (*Pipeline, error) {
	switch {
	case stages < 1 || stages > maxStages || microbatches < 1 || microbatches > maxMicrobatches:
		return nil, fmt.Errorf("pipeline: expected 1 to %d stages and 1 to %d microbatches, got %d and %d", maxStages, maxMicrobatches, stages, microbatches)
	case schedule != "1f1b" && schedule != "gpipe" && schedule != "interleaved":
		return nil, fmt.Errorf("pipeline: schedule %q: expected 1f1b, gpipe or interleaved", schedule)
	case schedule != "interleaved" && chunks != 1:
		return nil, fmt.Errorf("pipeline: the profile has %d chunks on every stage: expected the schedule interleaved, got %s", chunks, schedule)
	case schedule == "interleaved" && chunks < 2:
		return nil, fmt.Errorf("pipeline: schedule interleaved: expected a profile of at least 2 chunks on every stage (column chunk), got %d", chunks)
	case schedule == "interleaved" && microbatches%stages != 0:
		return nil, fmt.Errorf("pipeline: schedule interleaved: expected a multiple of %d microbatches (one for every stage), got %d", stages, microbatches)
	}
	p := &Pipeline{Stages: stages}
	index := map[Instruction]int{}
	for s := range stages {
		last := -1
		add := func(kind string, chunk, m int) {
			i := len(p.Instructions)
			in := Instruction{Operation{s, chunk, kind}, m}
			index[in] = i
			p.Instructions = append(p.Instructions, in)
			var after []int
			if last >= 0 {
				after = append(after, last)
			}
			p.After = append(p.After, after)
			last = i
		}
		// The k-th forward and the k-th backward of the stage: microbatches go in groups
		// of one for every stage, each group through all chunks.
		group := stages * chunks
		if chunks == 1 {
			group = 1
		}
		of := func(k int) (chunk, m int) { return k % group / stages, k/group*(group/chunks) + k%group%stages }
		forward := func(k int) {
			chunk, m := of(k)
			add("forward", chunk, m)
		}
		backward := func(k int) {
			chunk, m := of(k)
			add("backward", chunks-1-chunk, m)
		}
		total := microbatches * chunks
		warm := min(total, warmup(schedule, s, stages, chunks, microbatches))
		for k := range warm {
			forward(k)
		}
		for k := warm; k < total; k++ {
			forward(k)
			backward(k - warm)
		}
		for k := total - warm; k < total; k++ {
			backward(k)
		}
	}
	for i, in := range p.Instructions {
		if j, ok := index[in.before(stages)]; ok {
			p.After[i] = append(p.After[i], j)
		}
	}
	return p, nil
}

// warmup is the number of forwards that a stage does before its first backward.
func warmup(schedule string, stage, stages, chunks, microbatches int) int {
	switch {
	case schedule == "gpipe" || chunks > 1 && microbatches == stages:
		return microbatches * chunks
	case chunks > 1:
		return 2*(stages-1-stage) + (chunks-1)*stages
	}
	return stages - 1 - stage
}

// before is the same of the part of the model before (behind, going backward).
func (in Instruction) before(stages int) Instruction {
	part := in.Chunk*stages + in.Stage
	if in.Kind == "backward" {
		part++
	} else {
		part--
	}
	if part < 0 { // not a stage: it is in no index
		in.Stage = -1
		return in
	}
	in.Chunk, in.Stage = part/stages, part%stages
	return in
}

// ReadPipeline reads a graph of instructions: {"stages": n, "instructions": [{"stage",
// "microbatch", "instruction", "after": [indices]}]}, with a "chunk" where stages hold
// several parts of the model.
func ReadPipeline(path string) (*Pipeline, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading pipeline: %w", err)
	}
	p, err := parsePipeline(text)
	if err != nil {
		return nil, fmt.Errorf("reading pipeline %s: %w", path, err)
	}
	return p, nil
}

func parsePipeline(text []byte) (*Pipeline, error) {
	var d struct {
		Stages       int `json:"stages"`
		Instructions []struct {
			Instruction
			After []int `json:"after"`
		} `json:"instructions"`
	}
	if err := json.Unmarshal(text, &d); err != nil {
		return nil, err
	}
	if d.Stages < 1 || d.Stages > maxStages {
		return nil, fmt.Errorf("stages: expected 1 to %d, got %d", maxStages, d.Stages)
	}
	p := &Pipeline{Stages: d.Stages}
	for i, in := range d.Instructions {
		if in.Stage < 0 || in.Stage >= d.Stages {
			return nil, fmt.Errorf("instruction %d: stage %d, expected 0 to %d", i, in.Stage, d.Stages-1)
		}
		p.Instructions, p.After = append(p.Instructions, in.Instruction), append(p.After, in.After)
	}
	if len(p.Instructions) == 0 {
		return nil, errors.New("expected instructions, got none")
	}
	if _, err := p.order(); err != nil {
		return nil, err
	}
	return p, nil
}

// Edges counts what waits for what.
func (p *Pipeline) Edges() int {
	n := 0
	for _, a := range p.After {
		n += len(a)
	}
	return n
}
