// Python's arrays as the core reads them: by the buffer protocol, with any strides and any alignment. It
// takes a third of the time of a DLPack view, and knows strides in bytes, which fields of packed records
// need.
#pragma once
#include <nanobind/nanobind.h>

#include <bit>

#include "core.h"

namespace chainrule {

class Buffer {
public:
    Buffer(nanobind::handle array, int flags) : held_(PyObject_GetBuffer(array.ptr(), &view_, flags) == 0) {
        if (!held_) PyErr_Clear();
    }
    ~Buffer() {
        if (held_) PyBuffer_Release(&view_);
    }
    Buffer(const Buffer&) = delete;
    bool held() const { return held_; }
    // The type of its numbers, as the struct module writes it; 0 for what is not plain numbers in this
    // machine's byte order. Numbers that are not aligned have a mark for the order in front.
    char type() const {
        const char* f = view_.format;
        constexpr char own = std::endian::native == std::endian::little ? '<' : '>';
        if (f && (*f == '@' || *f == '=' || *f == own)) ++f;
        return f && f[0] && !f[1] ? f[0] : '\0';
    }
    const Py_buffer* operator->() const { return &view_; }
    bool is_aligned() const { return reinterpret_cast<std::uintptr_t>(view_.buf) % view_.itemsize == 0; }
    // Its element type; false for a type that the core does not read.
    bool element(Element& found) const {
        const int size = static_cast<int>(view_.itemsize);
        switch (type()) {
        case 'f': found = Element::f32; return true;
        case 'd': found = Element::f64; return true;
        case '?': found = Element::boolean; return true;
        case 'b':
        case 'h':
        case 'i':
        case 'l':
        case 'q':
            found = size == 1 ? Element::i8 : size == 2 ? Element::i16 : size == 4 ? Element::i32 : Element::i64;
            return true;
        case 'B':
        case 'H':
        case 'I':
        case 'L':
        case 'Q':
            found = size == 1 ? Element::u8 : size == 2 ? Element::u16 : size == 4 ? Element::u32 : Element::u64;
            return true;
        }
        return false;
    }
    // As a matrix of so many columns; false if it is none that the core reads.
    bool matrix(std::size_t columns, MatrixView& found) const {
        if (!held_ || view_.ndim != 2 || std::size_t(view_.shape[1]) != columns || !element(found.element))
            return false;
        found.data = view_.buf, found.row_stride = view_.strides[0], found.column_stride = view_.strides[1];
        return true;
    }

private:
    Py_buffer view_;
    bool held_;
};

} // namespace chainrule
