package checkpoint

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"
)

// Pickled values are nil, bool, int64, float64, string, []byte and the types
// below. A pickle is a program; this interpreter runs only the opcodes that
// build such values, and "calls" only what is on the list in call, which are
// constructors implemented here. Everything else is refused by name.
type (
	pickledTuple []any
	pickledList  struct{ items []any }
	pickledDict  struct{ pairs [][2]any }
	global       string // "module.name", on the allow list
	pickledMark  struct{}

	// opaque stands for a value that is allowed but of no use: a device.
	opaque struct{}

	pickledStorage struct {
		dtype string // "" for untyped bytes
		key   string
	}
	pickledTensor struct {
		dtype, key     string
		offset         int
		shape, strides []int
	}
)

// allowed has the globals that a pickle may name, besides torch's storage
// classes and dtypes.
var allowed = map[global]bool{
	"collections.OrderedDict":                    true,
	"torch._utils._rebuild_tensor":               true,
	"torch._utils._rebuild_tensor_v2":            true,
	"torch._utils._rebuild_tensor_v3":            true,
	"torch._utils._rebuild_parameter":            true,
	"torch._utils._rebuild_parameter_with_state": true,
	"torch.storage.UntypedStorage":               true,
	"torch.Size":                                 true,
	"torch.device":                               true,
}

// unpickle interprets a pickle of protocol 2 to 5.
func unpickle(program []byte) (any, error) {
	u := &unpickler{data: program, memo: make(map[uint32]any)}
	for {
		at := u.pos
		op, err := u.take(1)
		if err != nil {
			return nil, err
		}
		done, err := u.step(op[0])
		if err != nil {
			return nil, fmt.Errorf("opcode %s at byte %d: %w", opcodeName(op[0]), at, err)
		}
		if done {
			return u.pop()
		}
	}
}

type unpickler struct {
	data  []byte
	pos   int
	stack []any
	memo  map[uint32]any
}

var errUnderflow = errors.New("the stack is empty")

func (u *unpickler) take(n uint64) ([]byte, error) {
	if n > uint64(len(u.data)-u.pos) {
		return nil, fmt.Errorf("truncated: %d bytes wanted at byte %d, %d are left", n, u.pos, len(u.data)-u.pos)
	}
	b := u.data[u.pos : u.pos+int(n)]
	u.pos += int(n)
	return b, nil
}

// number reads a little-endian unsigned integer of the given width.
func (u *unpickler) number(width uint64) (uint64, error) {
	b, err := u.take(width)
	var wide [8]byte
	copy(wide[:], b)
	return binary.LittleEndian.Uint64(wide[:]), err
}

// sized reads a length of the given width and then as many bytes.
func (u *unpickler) sized(width uint64) ([]byte, error) {
	n, err := u.number(width)
	if err != nil {
		return nil, err
	}
	return u.take(n)
}

func (u *unpickler) line() (string, error) {
	end := bytes.IndexByte(u.data[u.pos:], '\n')
	if end < 0 {
		return "", errors.New("truncated: expected the end of a line")
	}
	b, err := u.take(uint64(end) + 1)
	return string(b[:len(b)-1]), err
}

func (u *unpickler) push(v any) { u.stack = append(u.stack, v) }

func (u *unpickler) pop() (any, error) {
	if len(u.stack) == 0 {
		return nil, errUnderflow
	}
	v := u.stack[len(u.stack)-1]
	u.stack = u.stack[:len(u.stack)-1]
	if v == (pickledMark{}) {
		return nil, errors.New("expected a value, got a mark")
	}
	return v, nil
}

// popMark returns a copy of the values above the topmost mark.
func (u *unpickler) popMark() (pickledTuple, error) {
	for i := len(u.stack) - 1; i >= 0; i-- {
		if _, isMark := u.stack[i].(pickledMark); isMark {
			items := append(pickledTuple{}, u.stack[i+1:]...)
			u.stack = u.stack[:i]
			return items, nil
		}
	}
	return nil, errors.New("there is no mark on the stack")
}

// popN returns a copy of the top n values.
func (u *unpickler) popN(n int) (pickledTuple, error) {
	if len(u.stack) < n {
		return nil, errUnderflow
	}
	items := append(pickledTuple{}, u.stack[len(u.stack)-n:]...)
	u.stack = u.stack[:len(u.stack)-n]
	return items, nil
}

// step executes one opcode; done is true after STOP.
func (u *unpickler) step(op byte) (done bool, err error) {
	if value, isConstant := constants[op]; isConstant {
		u.push(value())
		return false, nil
	}
	if width, isLiteral := literals[op]; isLiteral {
		v, err := u.literal(op, width)
		u.push(v)
		return false, err
	}
	switch op {
	case '.':
		return true, nil
	case 0x80: // PROTO
		version, err := u.number(1)
		if err == nil && (version < 2 || version > 5) {
			err = fmt.Errorf("pickle protocol %d: expected 2 to 5", version)
		}
		return false, err
	case 0x95: // FRAME
		_, err = u.take(8)
	case '0': // POP
		_, err = u.popN(1)
	case '1': // POP_MARK
		_, err = u.popMark()
	case '2': // DUP
		var top any
		if top, err = u.pop(); err == nil {
			u.stack = append(u.stack, top, top)
		}
	case 't', 0x85, 0x86, 0x87: // TUPLE, TUPLE1, TUPLE2, TUPLE3
		var items pickledTuple
		if op == 't' {
			items, err = u.popMark()
		} else {
			items, err = u.popN(int(op - 0x84))
		}
		u.push(items)
	case 'a', 'e', 's', 'u':
		err = u.fill(op)
	case 'q', 'r', 0x94, 'h', 'j':
		err = u.remember(op)
	case 'c', 0x93, 'Q', 'R', 'b':
		err = u.object(op)
	case 0x81, 'i', 'o', 0x92, 0x82, 0x83, 0x84, 'P': // NEWOBJ, INST, OBJ, NEWOBJ_EX, EXT1, EXT2, EXT4, PERSID
		err = u.refuse(op)
	default:
		err = errors.New("not an opcode that a checkpoint of tensors needs")
	}
	return false, err
}

// constants are the opcodes that push a fixed value.
var constants = map[byte]func() any{
	'(': func() any { return pickledMark{} }, 'N': func() any { return nil },
	0x88: func() any { return true }, 0x89: func() any { return false },
	')': func() any { return pickledTuple{} }, ']': func() any { return &pickledList{} }, '}': func() any { return &pickledDict{} },
}

// literals are the opcodes that push a value of their operand, whose width, or
// whose length's width, is given.
var literals = map[byte]uint64{
	'K': 1, 'M': 2, 'J': 4, 'G': 8, // BININT1, BININT2, BININT, BINFLOAT
	0x8a: 1, 0x8b: 4, // LONG1, LONG4
	0x8c: 1, 'X': 4, 0x8d: 8, // SHORT_BINUNICODE, BINUNICODE, BINUNICODE8
	'U': 1, 'T': 4, 'C': 1, 'B': 4, 0x8e: 8, // SHORT_BINSTRING, BINSTRING, SHORT_BINBYTES, BINBYTES, BINBYTES8
}

func (u *unpickler) literal(op byte, width uint64) (any, error) {
	switch op {
	case 'K', 'M':
		n, err := u.number(width)
		return int64(n), err
	case 'J':
		n, err := u.number(width)
		return int64(int32(uint32(n))), err
	case 'G':
		b, err := u.take(8)
		if err != nil {
			return nil, err
		}
		return math.Float64frombits(binary.BigEndian.Uint64(b)), nil
	}
	b, err := u.sized(width)
	if err != nil {
		return nil, err
	}
	switch op {
	case 0x8a, 0x8b:
		return long(b)
	case 0x8c, 'X', 0x8d:
		if !utf8.Valid(b) {
			return nil, errors.New("expected UTF-8")
		}
		return string(b), nil
	}
	return bytes.Clone(b), nil
}

// long decodes a two's complement integer that fits 64 bits.
func long(b []byte) (any, error) {
	if len(b) > 8 {
		return nil, fmt.Errorf("an integer of %d bytes does not fit 64 bits", len(b))
	}
	var wide [8]byte
	copy(wide[:], b)
	if n := len(b); n > 0 && b[n-1]&0x80 != 0 {
		for i := n; i < 8; i++ {
			wide[i] = 0xff
		}
	}
	return int64(binary.LittleEndian.Uint64(wide[:])), nil
}

// fill executes APPEND, APPENDS, SETITEM and SETITEMS.
func (u *unpickler) fill(op byte) error {
	var items pickledTuple
	var err error
	switch op {
	case 'a':
		items, err = u.popN(1)
	case 's':
		items, err = u.popN(2)
	default:
		items, err = u.popMark()
	}
	if err != nil {
		return err
	}
	if len(u.stack) == 0 {
		return errUnderflow
	}
	switch target := u.stack[len(u.stack)-1].(type) {
	case *pickledList:
		if op == 'a' || op == 'e' {
			target.items = append(target.items, items...)
			return nil
		}
	case *pickledDict:
		if (op == 's' || op == 'u') && len(items)%2 == 0 {
			for i := 0; i < len(items); i += 2 {
				target.pairs = append(target.pairs, [2]any{items[i], items[i+1]})
			}
			return nil
		}
	}
	return fmt.Errorf("expected a list or a dict to fill, got %T", u.stack[len(u.stack)-1])
}

// remember executes BINPUT, LONG_BINPUT, MEMOIZE, BINGET and LONG_BINGET.
func (u *unpickler) remember(op byte) error {
	index := uint64(len(u.memo)) // MEMOIZE
	var err error
	switch op {
	case 'q', 'h':
		index, err = u.number(1)
	case 'r', 'j':
		index, err = u.number(4)
	}
	if err != nil {
		return err
	}
	if op == 'h' || op == 'j' {
		v, known := u.memo[uint32(index)]
		if !known {
			return fmt.Errorf("nothing was stored under %d", index)
		}
		u.push(v)
		return nil
	}
	if len(u.stack) == 0 {
		return errUnderflow
	}
	u.memo[uint32(index)] = u.stack[len(u.stack)-1]
	return nil
}

// object executes GLOBAL, STACK_GLOBAL, BINPERSID, REDUCE and BUILD.
func (u *unpickler) object(op byte) error {
	switch op {
	case 'c', 0x93:
		g, err := u.global(op)
		if err != nil {
			return err
		}
		if _, isStorage := storageDType(g); !allowed[g] && !isStorage && !isTorchDType(g) {
			return fmt.Errorf("wants %s, which is not among the constructors of tensors; nothing was executed", strconv.Quote(string(g)))
		}
		u.push(g)
		return nil
	case 'Q':
		id, err := u.pop()
		if err != nil {
			return err
		}
		s, err := storageOf(id)
		u.push(s)
		return err
	}
	two, err := u.popN(2)
	if err != nil {
		return err
	}
	if op == 'b' {
		// An OrderedDict's attributes (_metadata) are of no use; nothing else has any.
		if _, isDict := two[0].(*pickledDict); !isDict {
			return fmt.Errorf("wants to set the state of a %T; nothing was executed", two[0])
		}
		u.push(two[0])
		return nil
	}
	f, isGlobal := two[0].(global)
	args, isTuple := two[1].(pickledTuple)
	if !isGlobal || !isTuple {
		return fmt.Errorf("wants to call a %T with a %T; nothing was executed", two[0], two[1])
	}
	v, err := call(f, args)
	u.push(v)
	return err
}

func (u *unpickler) global(op byte) (global, error) {
	if op == 'c' {
		module, err := u.line()
		if err != nil {
			return "", err
		}
		name, err := u.line()
		return global(module + "." + name), err
	}
	two, err := u.popN(2)
	if err != nil {
		return "", err
	}
	module, ok1 := two[0].(string)
	name, ok2 := two[1].(string)
	if !ok1 || !ok2 {
		return "", fmt.Errorf("expected a module and a name, got %T and %T", two[0], two[1])
	}
	return global(module + "." + name), nil
}

// refuse explains an opcode that would construct an object.
func (u *unpickler) refuse(op byte) error {
	if op == 'i' {
		if g, err := u.global('c'); err == nil {
			return fmt.Errorf("wants an instance of %s; nothing was executed", strconv.Quote(string(g)))
		}
	}
	for i := len(u.stack) - 1; i >= 0; i-- {
		if g, ok := u.stack[i].(global); ok {
			return fmt.Errorf("wants an instance of %s; nothing was executed", strconv.Quote(string(g)))
		}
	}
	return errors.New("would construct an object; nothing was executed")
}

// opcodeName names the opcodes that appear in messages; the rest by number.
func opcodeName(op byte) string {
	names := map[byte]string{
		'c': "GLOBAL", 0x93: "STACK_GLOBAL", 'R': "REDUCE", 'b': "BUILD", 'i': "INST", 'o': "OBJ",
		0x81: "NEWOBJ", 0x92: "NEWOBJ_EX", 0x82: "EXT1", 0x83: "EXT2", 0x84: "EXT4", 'P': "PERSID", 'Q': "BINPERSID",
		0x80: "PROTO", 0x8a: "LONG1", 0x8b: "LONG4", 'a': "APPEND", 'e': "APPENDS", 's': "SETITEM", 'u': "SETITEMS",
		'I': "INT", 'L': "LONG", 'F': "FLOAT", 'S': "STRING", 'V': "UNICODE", 'p': "PUT", 'g': "GET", 'd': "DICT", 'l': "LIST",
	}
	if name, ok := names[op]; ok {
		return name
	}
	return fmt.Sprintf("%#02x", op)
}
