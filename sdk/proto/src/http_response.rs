//! The messages of a response, which come from whoever wrote the plugin: of more header fields than a message may have, no more is kept than
//! tells that there are too many. What is generated makes 25,000 of them of 64 KiB, for a millisecond of everybody's time.

use bytes::{Buf, BufMut, Bytes};
use prost::{
    DecodeError, Message,
    encoding::{self, DecodeContext, WireType},
};

use crate::{Header, MAX_FIELDS, WebSocketFrame};

/// `HttpResponse` is a part of a response. It has at most 128 KiB: 64 KiB of data at most, and 64 KiB of head and trailers together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HttpResponse {
    /// In the first message, and only there.
    pub head: Option<HttpResponseHead>,
    /// A piece of the body, at most 64 KiB.
    pub data: Bytes,
    /// With `end` only. At most 256; of a message that had more, the first 257.
    pub trailers: Vec<Header>,
    /// The response is complete.
    pub end: bool,
    /// Of a WebSocket that was accepted, in the place of data.
    pub frame: Option<WebSocketFrame>,
}

/// `HttpResponseHead` begins a response. The gateway removes Set-Cookie and hop-by-hop fields; a Location outside the plugin is
/// 502.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HttpResponseHead {
    /// Final status code, 200 to 599; 101 accepts a WebSocket.
    pub status: u32,
    /// At most 256, and with the status at most 64 KiB serialized. Of a message that had more, the first 257.
    pub headers: Vec<Header>,
}

/// Takes in one more field, unless there are too many already.
fn merge_header(
    fields: &mut Vec<Header>,
    (tag, wire_type): (u32, WireType),
    buf: &mut impl Buf,
    ctx: DecodeContext,
) -> Result<(), DecodeError> {
    if fields.len() > MAX_FIELDS {
        return encoding::skip_field(wire_type, tag, buf, ctx);
    }
    encoding::message::merge_repeated(wire_type, fields, buf, ctx)
}

impl Message for HttpResponse {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        if let Some(head) = &self.head {
            encoding::message::encode(1, head, buf);
        }
        if !self.data.is_empty() {
            encoding::bytes::encode(2, &self.data, buf);
        }
        encoding::message::encode_repeated(3, &self.trailers, buf);
        if self.end {
            encoding::bool::encode(4, &self.end, buf);
        }
        if let Some(frame) = &self.frame {
            encoding::message::encode(5, frame, buf);
        }
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        match tag {
            1 => encoding::message::merge(wire_type, self.head.get_or_insert_default(), buf, ctx),
            2 => encoding::bytes::merge(wire_type, &mut self.data, buf, ctx),
            3 => merge_header(&mut self.trailers, (tag, wire_type), buf, ctx),
            4 => encoding::bool::merge(wire_type, &mut self.end, buf, ctx),
            5 => encoding::message::merge(wire_type, self.frame.get_or_insert_default(), buf, ctx),
            _ => encoding::skip_field(wire_type, tag, buf, ctx),
        }
    }

    fn encoded_len(&self) -> usize {
        let head = self.head.as_ref();
        let frame = self.frame.as_ref();
        let data = if self.data.is_empty() {
            0
        } else {
            encoding::bytes::encoded_len(2, &self.data)
        };
        let end = if self.end {
            encoding::bool::encoded_len(4, &self.end)
        } else {
            0
        };
        head.map_or(0, |head| encoding::message::encoded_len(1, head))
            + data
            + encoding::message::encoded_len_repeated(3, &self.trailers)
            + end
            + frame.map_or(0, |frame| encoding::message::encoded_len(5, frame))
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Message for HttpResponseHead {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        if self.status != 0 {
            encoding::uint32::encode(1, &self.status, buf);
        }
        encoding::message::encode_repeated(2, &self.headers, buf);
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        match tag {
            1 => encoding::uint32::merge(wire_type, &mut self.status, buf, ctx),
            2 => merge_header(&mut self.headers, (tag, wire_type), buf, ctx),
            _ => encoding::skip_field(wire_type, tag, buf, ctx),
        }
    }

    fn encoded_len(&self) -> usize {
        let status = if self.status == 0 {
            0
        } else {
            encoding::uint32::encoded_len(1, &self.status)
        };
        status + encoding::message::encoded_len_repeated(2, &self.headers)
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What would be generated from `plugin.proto`.
    mod generated {
        use super::{Bytes, Header, WebSocketFrame};

        #[derive(Clone, PartialEq, prost::Message)]
        pub(super) struct HttpResponse {
            #[prost(message, optional, tag = "1")]
            pub(super) head: Option<HttpResponseHead>,
            #[prost(bytes = "bytes", tag = "2")]
            pub(super) data: Bytes,
            #[prost(message, repeated, tag = "3")]
            pub(super) trailers: Vec<Header>,
            #[prost(bool, tag = "4")]
            pub(super) end: bool,
            #[prost(message, optional, tag = "5")]
            pub(super) frame: Option<WebSocketFrame>,
        }

        #[derive(Clone, PartialEq, prost::Message)]
        pub(super) struct HttpResponseHead {
            #[prost(uint32, tag = "1")]
            pub(super) status: u32,
            #[prost(message, repeated, tag = "2")]
            pub(super) headers: Vec<Header>,
        }
    }

    fn fields(count: usize) -> Vec<Header> {
        let field = |number: usize| Header {
            name: format!("x-{number}"),
            value: Bytes::from(number.to_string()),
        };
        (0..count).map(field).collect()
    }

    /// Every choice of what a message may have.
    fn all() -> impl Iterator<Item = generated::HttpResponse> {
        (0..64_u32).map(|choice| {
            let has = |bit: u32| choice & (1 << bit) != 0;
            generated::HttpResponse {
                head: has(0).then(|| generated::HttpResponseHead {
                    status: if has(1) { 204 } else { 0 },
                    headers: fields(if has(2) { MAX_FIELDS } else { 0 }),
                }),
                data: Bytes::from_static(if has(3) { b"data" } else { b"" }),
                trailers: fields(if has(4) { 3 } else { 0 }),
                end: has(5),
                frame: has(4).then(|| WebSocketFrame {
                    data: Bytes::from_static(b"frame"),
                    ..WebSocketFrame::default()
                }),
            }
        })
    }

    #[test]
    fn they_are_written_and_read_as_what_would_be_generated() {
        for generated in all() {
            let bytes = generated.encode_to_vec();
            let mut response = HttpResponse::decode(bytes.as_slice()).unwrap();
            assert_eq!(response.encode_to_vec(), bytes);
            assert_eq!(response.encoded_len(), bytes.len());
            assert_eq!(format!("{response:?}"), format!("{generated:?}"));
            // What comes twice is merged.
            let twice = [bytes.as_slice(), &bytes].concat();
            if generated.head.as_ref().is_none_or(|head| head.headers.is_empty()) {
                let other = generated::HttpResponse::decode(twice.as_slice()).unwrap();
                response.merge(bytes.as_slice()).unwrap();
                assert_eq!(response.encode_to_vec(), other.encode_to_vec());
            }
            // What is cut off is an error in both, or in neither.
            for end in 0..bytes.len().min(64) {
                let cut = bytes.get(..end).unwrap();
                let (ours, other) = (HttpResponse::decode(cut), generated::HttpResponse::decode(cut));
                assert_eq!(ours.is_ok(), other.is_ok(), "{cut:?}");
            }
            response.clear();
            assert_eq!(response, HttpResponse::default());
        }
    }

    #[test]
    fn what_is_not_known_is_left_out_and_what_is_of_another_type_is_refused() {
        // Field 15, a number; then `end`.
        let response = HttpResponse::decode([0x78, 0x05, 0x20, 0x01].as_slice()).unwrap();
        assert!(response.end);
        // Field 15 in the head.
        let response = HttpResponse::decode([0x0a, 0x02, 0x78, 0x05].as_slice()).unwrap();
        assert_eq!(response.head, Some(HttpResponseHead::default()));
        for tag in 1..=5_u8 {
            // A 32-bit number.
            let wrong = [tag << 3 | 5, 0, 0, 0, 0];
            HttpResponse::decode(wrong.as_slice()).unwrap_err();
        }
    }

    #[test]
    fn of_too_many_fields_so_many_are_kept_that_it_is_seen() {
        let many = generated::HttpResponse {
            head: Some(generated::HttpResponseHead {
                status: 200,
                headers: fields(25_000),
            }),
            trailers: fields(300),
            end: true,
            ..generated::HttpResponse::default()
        };
        let response = HttpResponse::decode(many.encode_to_vec().as_slice()).unwrap();
        let head = response.head.unwrap();
        assert_eq!((head.status, head.headers), (200, fields(MAX_FIELDS + 1)));
        assert_eq!((response.trailers, response.end), (fields(MAX_FIELDS + 1), true));
    }
}
