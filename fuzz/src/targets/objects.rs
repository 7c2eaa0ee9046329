//! The jigsaw's trial: lists of parts, and the names of contents and objects.

use windlass_repo_format::id::{BlobId, ContentId, ObjectId};
use windlass_repo_format::object::{IndirectEntry, IndirectReader, encode_indirect};
use windlass_repo_format::session::{SessionId, SessionMarker};

use crate::bytes::Tickets;
use crate::naive::hex;

fn read(json: &[u8], cut: usize) -> Option<(Vec<IndirectEntry>, u64)> {
    let (mut parts, mut reader) = (Vec::new(), IndirectReader::new());
    let pushed = json
        .chunks(cut)
        .try_for_each(|piece| reader.push(piece, |part| parts.push(part)));
    let len = pushed.and_then(|()| reader.finish()).ok()?;
    Some((parts, len))
}

/// A list of parts, read at once and in pieces.
pub(super) fn indirect(input: &[u8]) {
    let mut tickets = Tickets::new(input);
    let cut = usize::from(tickets.byte()) + 1;
    let json = tickets.rest();
    let whole = read(json, usize::MAX);
    assert_eq!(whole, read(json, cut), "where it was cut says nothing");
    let Some((parts, len)) = whole else { return };
    assert_eq!(parts.last().and_then(IndirectEntry::end), Some(len));
    let encoded = encode_indirect(&parts);
    assert_eq!(read(&encoded, usize::MAX), Some((parts, len)), "encoded and decoded");
}

/// Names, one a word.
pub(super) fn ids(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    for word in text.split(|letter: char| !letter.is_alphanumeric() && letter != '-' && letter != '_') {
        let content: Option<ContentId> = word.parse().ok();
        let twin = match (word.len() % 2, word.chars().next()) {
            (1, Some(prefix)) if prefix.is_ascii_lowercase() && prefix > 'f' => {
                hex(&word[1..]).map(|hash| (prefix as u8, hash))
            }
            (1, _) => None,
            _ => hex(word).map(|hash| (0, hash)),
        };
        if let Some(content) = content {
            assert_eq!(content.to_string(), word);
            let (prefix, hash) = twin.unwrap_or_else(|| panic!("{word} is no name to the twin"));
            assert_eq!(content.as_key(), [&[prefix], &hash[..]].concat());
            assert_eq!(ContentId::from_key(content.as_key()).ok(), Some(content));
        }
        if let Ok(object) = word.parse::<ObjectId>() {
            let again: ObjectId = object.to_string().parse().expect("it was just written");
            assert_eq!(again, object);
            let mut lists = std::iter::successors(Some(object), ObjectId::list);
            assert!(lists.by_ref().count() <= usize::from(ObjectId::INDIRECTION_MAX) + 1);
        }
        if let Some(session) = SessionId::of_blob(&BlobId::from(word)) {
            assert!(word.contains(session.as_str()));
        }
    }
    if let Ok(marker) = SessionMarker::parse(input) {
        assert_eq!(
            SessionMarker::parse(&marker.to_json()).expect("it was just written"),
            marker
        );
    }
}
