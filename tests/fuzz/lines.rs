//! Lines of CLIENT LIST, drawn from a seed.

use crate::inputs::Inputs;

/// Lines as CLIENT LIST has them, some of them damaged.
pub fn client_list(inputs: &mut Inputs) -> Vec<u8> {
    const KEYS: &[&str] = &[
        "id",
        "addr",
        "laddr",
        "fd",
        "name",
        "age",
        "idle",
        "flags",
        "capa",
        "db",
        "sub",
        "psub",
        "ssub",
        "multi",
        "watch",
        "qbuf",
        "qbuf-free",
        "argv-mem",
        "multi-mem",
        "rbs",
        "rbp",
        "obl",
        "oll",
        "omem",
        "tot-mem",
        "events",
        "cmd",
        "user",
        "redir",
        "resp",
        "lib-name",
        "lib-ver",
        "io-thread",
        "new",
    ];
    if inputs.chance(10) {
        return inputs.bytes(200);
    }
    let mut text = Vec::new();
    for _ in 0..1 + inputs.below(3) {
        for key in KEYS {
            if inputs.chance(15) {
                continue;
            }
            text.extend_from_slice(if inputs.chance(3) { inputs.of(KEYS) } else { key }.as_bytes());
            text.push(if inputs.chance(2) { b' ' } else { b'=' });
            text.extend(if inputs.chance(50) {
                inputs.number().to_string().into_bytes()
            } else {
                inputs.word()
            });
            text.push(if inputs.chance(2) { b'\n' } else { b' ' });
        }
        text.push(b'\n');
    }
    if inputs.chance(20) {
        text.truncate(inputs.below(text.len() + 1));
    }
    text
}
