//! Bodies that the server compresses.

use super::*;
use crate::fetch::coding::Fault;
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use std::io::Write;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn answer(headers: &str, body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\n{headers}content-length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

async fn fetch_coded(headers: &'static str, body: Vec<u8>, at_most: u64) -> Result<Body, FetchError> {
    let server = Server::start(move |_| answer(headers, &body)).await;
    fetch(&server, "/", at_most).await
}

const GZIP: &str = "Content-Encoding: gzip\r\n";

/// What a decoder makes of these chunks.
fn decode(chunks: &[&[u8]], at_most: u64) -> Result<Body, Fault> {
    let mut decoder = Decoder::new(Coding::Gzip, Spool::new(&std::env::temp_dir()), at_most);
    for chunk in chunks {
        decoder = decoder.take(chunk)?;
    }
    decoder.finish()
}

#[tokio::test]
async fn a_compressed_body_is_read_as_it_was_before() {
    let large: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
    let members = [gzip(b"first "), gzip(b""), gzip(b"second")].concat();
    for (headers, body, plain) in [
        (GZIP, gzip(b"abc"), b"abc".to_vec()),
        ("content-encoding: X-GZip\r\n", gzip(b"abc"), b"abc".to_vec()),
        ("content-encoding: identity, gzip\r\ncontent-encoding:\r\n", gzip(b"abc"), b"abc".to_vec()),
        (GZIP, members, b"first second".to_vec()),
        (GZIP, gzip(b""), Vec::new()),
        (GZIP, Vec::new(), Vec::new()),
        (GZIP, gzip(&large), large),
        ("content-encoding: identity\r\n", b"abc".to_vec(), b"abc".to_vec()),
    ] {
        let fetched = fetch_coded(headers, body, 3_000_000).await.unwrap();
        assert_eq!((fetched.size(), fetched.digest()), (plain.len() as u64, Digest::of(&plain)), "{headers}");
    }
}

#[tokio::test]
async fn a_file_that_is_itself_compressed_is_not_touched() {
    let file = gzip(b"abc");
    let fetched = fetch_coded("content-type: application/gzip\r\n", file.clone(), 99).await.unwrap();
    assert_eq!(fetched.digest(), Digest::of(&file));
    let twice = fetch_coded(GZIP, gzip(&file), 99).await.unwrap();
    assert_eq!(twice.digest(), Digest::of(&file));
}

#[tokio::test]
async fn a_coding_that_nobody_asked_for_is_refused_by_name() {
    for (headers, name) in [
        ("content-encoding: br\r\n", "br"),
        ("content-encoding: deflate\r\n", "deflate"),
        ("content-encoding: gzip, GZIP\r\n", "gzip, gzip"),
        ("content-encoding: gzip\r\ncontent-encoding: zstd\r\n", "gzip, zstd"),
        ("content-encoding: gz\u{ef}p\r\n", "gz"),
    ] {
        let refused = permanent(fetch_coded(headers, gzip(b"abc"), 99).await);
        assert!(refused.contains(name) && refused.contains("only gzip"), "{refused}");
    }
}

#[tokio::test]
async fn a_damaged_body_is_worth_another_attempt() {
    let whole = gzip(b"some bytes, some bytes, some bytes");
    let altered = |place: usize| {
        let mut bytes = whole.clone();
        bytes[place] ^= 0x55;
        bytes
    };
    let length = whole.len();
    for (what, body) in [
        ("cut in its header", whole[..5].to_vec()),
        ("cut in its data", whole[..20].to_vec()),
        ("cut in its checksum", whole[..length - 3].to_vec()),
        ("another checksum", altered(length - 8)),
        ("another length", altered(length - 1)),
        ("no gzip", b"plain text".to_vec()),
        ("followed by something else", [&whole[..], b"junk, more than a header of it"].concat()),
        ("followed by zeros", [&whole[..], &[0; 512]].concat()),
    ] {
        let (message, _) = transient(fetch_coded(GZIP, body, 999).await);
        assert!(message.contains("gzip body is damaged"), "{what}: {message}");
    }
}

#[tokio::test]
async fn a_bomb_is_put_out_at_the_bound() {
    // A mebibyte of zeros in each part, which has about a kibibyte.
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let [first, again] = [(); 2].map(|()| {
        encoder.write_all(&[0; 1 << 20]).unwrap();
        encoder.flush().unwrap();
        std::mem::take(encoder.get_mut())
    });
    assert!(again.len() < 2000, "{}", again.len());
    let server = Server::start_with(move |mut stream, _| {
        let (first, again) = (first.clone(), again.clone());
        async move {
            let head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\nconnection: close\r\n\r\n";
            let _ = stream.write_all(&[head, &first[..]].concat()).await;
            while stream.write_all(&again).await.is_ok() {}
        }
    })
    .await;
    let error = fetch(&server, "/", 20_000_000).await.unwrap_err();
    let FetchError::TooLarge { at_most: 20_000_000, observed, as_sent: false } = error else { panic!("{error:?}") };
    assert!((20_000_001..20_100_000).contains(&observed), "{observed}");
}

#[tokio::test]
async fn what_is_sent_is_bounded_as_well_as_what_is_read() {
    // Members that hold nothing: what is read stays at 0 bytes.
    let nothing = gzip(b"").repeat(1000);
    let length = nothing.len() as u64;
    let error = fetch_coded(GZIP, nothing.clone(), length - 1).await.unwrap_err();
    assert!(matches!(error, FetchError::TooLarge { observed, as_sent: true, .. } if observed == length), "{error:?}");
    assert_eq!(fetch_coded(GZIP, nothing, length).await.unwrap().size(), 0);

    let endless = Server::start_with(async |mut stream, _| {
        let head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\nconnection: close\r\n\r\n";
        let part = gzip(b"").repeat(100);
        let mut sent = stream.write_all(head).await;
        while sent.is_ok() {
            sent = stream.write_all(&part).await;
        }
    })
    .await;
    let error = fetch(&endless, "/", 300_000).await.unwrap_err();
    assert!(matches!(error, FetchError::TooLarge { as_sent: true, .. }), "{error:?}");
    let (many, _) = transient(fetch(&endless, "/", u64::MAX).await);
    assert!(many.contains("more than 100000 members"), "{many}");
}

proptest! {
    #[test]
    fn a_compressed_body_does_not_depend_on_its_chunks(
        parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3000), 1..4), cuts in prop::collection::vec(1usize..200, 1..20),
    ) {
        let coded = parts.iter().flat_map(|part| gzip(part)).collect::<Vec<_>>();
        let (mut rest, mut chunks) = (&coded[..], Vec::new());
        for cut in cuts.iter().cycle() {
            let (chunk, more) = rest.split_at((*cut).min(rest.len()));
            chunks.push(chunk);
            rest = more;
            if rest.is_empty() {
                break;
            }
        }
        let body = decode(&chunks, 1 << 20).unwrap();
        prop_assert_eq!(body.digest(), Digest::of(parts.concat()));
    }

    #[test]
    fn no_bytes_make_the_decoder_panic_or_pass_its_bound(
        plain in prop::collection::vec(any::<u8>(), 0..2000),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        noise in prop::collection::vec(any::<u8>(), 0..200),
        at_most in 0u64..3000,
    ) {
        let mut coded = gzip(&plain);
        for (place, byte) in changes {
            let place = place.index(coded.len());
            coded[place] = byte;
        }
        coded.extend_from_slice(&noise);
        for bytes in [&coded, &noise] {
            match decode(&[bytes], at_most) {
                Ok(body) => prop_assert!(body.size() <= at_most),
                Err(Fault::TooLarge(observed)) => prop_assert!(observed > at_most),
                Err(fault) => prop_assert!(matches!(fault, Fault::Damaged(_)), "{:?}", fault),
            }
        }
    }
}
