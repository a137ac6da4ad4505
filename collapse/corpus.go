package collapse

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of what is read of a corpus.
const (
	maxDocument = 16 << 20 // bytes of a document; the rest is left out, and counted
	maxWords    = 2000     // words of a document that are looked at
)

// A Corpus is a random part of the documents of a generation, and what there was.
type Corpus struct {
	Path      string
	Documents int // in all
	Bytes     int64
	Cut       int // documents of more than 16 MiB, of which the rest is left out
	Invalid   int // documents with bytes that are not UTF-8; these are replaced
	Empty     int // documents of spaces alone; left out

	docs [][]string // the sample, in random order
}

// ReadCorpus reads a generation: a folder of text files (a document each) and JSON
// lines, or one such file; a text file alone is a document a line. JSON lines are
// strings, or objects with the field "text". It keeps a random sample of the
// documents, so that memory does not grow with the corpus.
func ReadCorpus(ctx context.Context, path string, sample int, seed uint64) (*Corpus, error) {
	c := &Corpus{Path: path}
	r := rand.New(rand.NewPCG(seed, 5))
	add := func(text []byte, cut bool) error {
		c.Documents++
		c.Bytes += int64(len(text))
		if !utf8.Valid(text) {
			c.Invalid++
		}
		if cut {
			c.Cut++
		}
		if len(bytes.TrimSpace(text)) == 0 {
			c.Empty++
		} else if n := c.Documents - c.Empty; len(c.docs) < sample {
			c.docs = append(c.docs, wordsOf(text))
		} else if k := r.IntN(n); k < sample { // algorithm R: every document is kept with the same chance
			c.docs[k] = wordsOf(text)
		}
		if c.Documents%1024 == 0 {
			return ctx.Err()
		}
		return nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("reading corpus: %w", err)
	}
	if info.IsDir() {
		err = readFolder(path, add)
	} else {
		err = readFile(path, false, add)
	}
	if err != nil {
		return nil, fmt.Errorf("reading corpus %s: %w", path, err)
	}
	if len(c.docs) == 0 {
		return nil, fmt.Errorf("reading corpus %s: expected documents with words in them (.txt, .jsonl), found none in %d", path, c.Documents)
	}
	r.Shuffle(len(c.docs), func(i, j int) { c.docs[i], c.docs[j] = c.docs[j], c.docs[i] })
	return c, nil
}

func readFolder(root string, add func([]byte, bool) error) error {
	return filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		switch strings.ToLower(filepath.Ext(path)) {
		case ".txt", ".md", ".text":
			return readFile(path, true, add)
		case ".jsonl", ".ndjson":
			return readFile(path, false, add)
		}
		return nil
	})
}

// readFile reads a file: as one document, or one a line.
func readFile(path string, whole bool, add func([]byte, bool) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if whole {
		text, err := io.ReadAll(io.LimitReader(f, maxDocument+1))
		if err != nil {
			return err
		}
		return add(text[:min(len(text), maxDocument)], len(text) > maxDocument)
	}
	extension := strings.ToLower(filepath.Ext(path))
	structured := extension == ".jsonl" || extension == ".ndjson"
	lines := bufio.NewReaderSize(f, 1<<16)
	for number := 1; ; number++ {
		line, cut, err := readLine(lines)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if len(strings.TrimSpace(string(line))) == 0 {
			continue
		}
		if structured {
			if cut {
				return fmt.Errorf("%s: line %d has more than %d bytes: expected JSON lines", filepath.Base(path), number, maxDocument)
			}
			if line, err = textOf(line); err != nil {
				return fmt.Errorf("%s: line %d: %w", filepath.Base(path), number, err)
			}
		}
		if err := add(line, cut); err != nil {
			return err
		}
	}
}

// readLine reads a line without its end, and no more of it than a document may
// have. It is io.EOF where there is none.
func readLine(r *bufio.Reader) (line []byte, cut bool, err error) {
	for {
		part, err := r.ReadSlice('\n')
		if room := maxDocument - len(line); len(part) > room {
			part, cut = part[:room], true
		}
		line = append(line, part...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && len(line) > 0, err == nil:
			return line, cut, nil
		}
		return nil, false, err
	}
}

// textOf returns the text of a JSON line.
func textOf(line []byte) ([]byte, error) {
	var text string
	if json.Unmarshal(line, &text) == nil {
		return []byte(text), nil
	}
	var object struct{ Text *string }
	if err := json.Unmarshal(line, &object); err != nil {
		return nil, fmt.Errorf("expected a JSON string or object: %w", err)
	}
	if object.Text == nil {
		return nil, errors.New(`expected the field "text"`)
	}
	return []byte(*object.Text), nil
}

// wordsOf splits a text into lower-case words and single marks, up to the number
// that is looked at.
func wordsOf(text []byte) (words []string) {
	var word []byte
	end := func() {
		if len(word) > 0 {
			words = append(words, string(word))
			word = word[:0]
		}
	}
	for len(text) > 0 {
		if len(words) >= maxWords {
			return words
		}
		c, size := utf8.DecodeRune(text)
		text = text[size:]
		switch {
		case unicode.IsLetter(c) || unicode.IsDigit(c) || unicode.IsMark(c) || c == '\'':
			if len(word) < 64 { // what is longer is no word
				word = utf8.AppendRune(word, unicode.ToLower(c))
			}
		case unicode.IsSpace(c):
			end()
		default:
			end()
			words = append(words, string(c))
		}
	}
	end()
	return words
}

// batches deals the documents into n batches of equal numbers of words, so that
// what depends on the size of a text can be compared, or fewer if there are not
// enough. A batch takes documents in order until it is full, and drops the rest of
// the last one: every batch is made in the same way, whatever the corpus.
func (c *Corpus) batches(n, words int) [][][]string {
	var list [][][]string
	var batch [][]string
	room := words
	for _, d := range c.docs {
		batch = append(batch, d[:min(len(d), room)])
		if room -= len(d); room > 0 {
			continue
		}
		if list = append(list, batch); len(list) == n {
			break
		}
		batch, room = nil, words
	}
	return list
}

// words counts the words of the sample.
func (c *Corpus) words() int {
	n := 0
	for _, d := range c.docs {
		n += len(d)
	}
	return n
}
