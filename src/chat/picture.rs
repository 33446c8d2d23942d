//! Pictures: a cluster's last hours as a PNG, readable on Discord's dark background.
//!
//! Two panels with one axis of time before now, as long as there are samples: pods above, nodes
//! below, those that are ready as an area under the line of those that are wanted. A time without
//! samples is a gap. A moment can be marked: the picture of an alert shows when it began.

use anyhow::{Context as _, anyhow};
use chrono::{DateTime, TimeDelta, Utc};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{FontStyle, register_font};

use crate::domain::sample::Sample;
use crate::looks::Chart;

/// Width and height, in pixels; Discord shows pictures about 400 wide, more on fine screens.
const SIZE: (u32, u32) = (800, 460);
/// The height of the line of words above a panel.
const TITLE: i32 = 42;
/// The size of the words above a panel, in pixels, and the width of a letter of the font with it.
const WORDS_SIZE: (i32, i32) = (26, 16);
/// The background of an embed in Discord's dark theme.
const BACKGROUND: RGBColor = RGBColor(0x2b, 0x2d, 0x31);
const GRID: RGBColor = RGBColor(0x45, 0x48, 0x50);
const WORDS: RGBColor = RGBColor(0xdb, 0xde, 0xe1);
const RUNNING: RGBColor = RGBColor(0x58, 0xa6, 0xff);
const PENDING: RGBColor = RGBColor(0xf0, 0xa8, 0x30);
const NODES: RGBColor = RGBColor(0x3f, 0xc1, 0x7c);
const WANTED: RGBColor = RGBColor(0xd2, 0x9b, 0xf5);
const MARK: RGBColor = RGBColor(0xf2, 0x3f, 0x43);

/// The name under which the font is known to plotters.
const FONT: &str = "sans-serif";

/// The least that the axis shows, in hours: the first samples are no dot at its end.
const SHORTEST: f64 = 0.25;

/// A pause between samples that is longer than this is a gap.
const GAP: TimeDelta = TimeDelta::minutes(5);

type Panel<'a> = DrawingArea<BitMapBackend<'a>, Shift>;

/// One line of a panel.
struct Line {
    name: &'static str,
    colour: RGBColor,
    /// Whether the area under it is filled.
    is_filled: bool,
    points: Vec<(f64, f64)>,
}

/// What both panels have in common.
struct Axis {
    /// Where it begins, in hours before now.
    from: f64,
    /// The moment that is marked, and its words.
    mark: Option<(f64, String)>,
}

/// The picture of a chart; an answer without it is better than none.
pub(crate) fn png(drawn: &Chart) -> Option<Vec<u8>> {
    chart(drawn)
        .inspect_err(|error| tracing::warn!(error = format!("{error:#}"), "a chart was not drawn"))
        .ok()
        .flatten()
}

/// Draws the last hours of a cluster; `None` with fewer than two samples.
///
/// # Errors
/// When the drawing fails, which is a fault of ours.
fn chart(drawn: &Chart) -> anyhow::Result<Option<Vec<u8>>> {
    let samples = &drawn.samples;
    if samples.len() < 2 {
        return Ok(None);
    }
    register_font(FONT, FontStyle::Normal, epaint_default_fonts::HACK_REGULAR)
        .map_err(|_font| anyhow!("the font does not read"))?;
    let (width, height) = SIZE;
    let mut pixels = vec![0; width as usize * height as usize * 3];
    {
        let area = BitMapBackend::with_buffer(&mut pixels, SIZE).into_drawing_area();
        area.fill(&BACKGROUND).map_err(failed)?;
        let (upper, lower) = area.split_vertically((60).percent_height());
        let axis = axis(drawn);
        let [running, pending, ready, wanted] = lines(drawn);
        panel(&upper, &[running, pending], &axis).map_err(failed)?;
        // The line of the nodes that are wanted shows where it stands above the others.
        panel(&lower, &[wanted, ready], &axis).map_err(failed)?;
        area.present().map_err(failed)?;
    }
    encode(&pixels).map(Some)
}

fn axis(drawn: &Chart) -> Axis {
    let hours = |at| hours_before(at, drawn.until);
    let oldest = drawn.samples.first();
    let oldest = oldest.map_or(0.0, |sample| hours(sample.at));
    let from = oldest.clamp(-f64::from(drawn.hours), -SHORTEST);
    let mark = drawn.mark.map(|at| (hours(at), at));
    Axis {
        from,
        // What began before stands in the words of the message.
        mark: mark
            .filter(|(hour, _)| *hour >= from)
            .map(|(hour, at)| (hour, format!("since {}", at.format("%H:%M UTC")))),
    }
}

fn lines(drawn: &Chart) -> [Line; 4] {
    let line = |name, colour, is_filled, of: fn(&Sample) -> Option<u32>| {
        let point = |sample: &Sample| {
            let count = f64::from(of(sample)?);
            Some((hours_before(sample.at, drawn.until), count))
        };
        Line {
            name,
            colour,
            is_filled,
            points: drawn.samples.iter().filter_map(point).collect(),
        }
    };
    [
        line("pods running", RUNNING, true, |one| Some(one.pods_running)),
        line("pods pending", PENDING, true, |one| Some(one.pods_pending)),
        line("nodes ready", NODES, true, |one| Some(one.nodes_ready)),
        line("nodes wanted", WANTED, false, |one| one.nodes_wanted),
    ]
}

fn failed<E: std::error::Error + Send + Sync>(error: DrawingAreaErrorKind<E>) -> anyhow::Error {
    anyhow!("{error}").context("draw a chart")
}

/// Hours before now, at most zero.
fn hours_before(at: DateTime<Utc>, now: DateTime<Utc>) -> f64 {
    let seconds = (at - now).as_seconds_f64();
    (seconds / 3600.0).min(0.0)
}

fn panel<'a>(
    area: &Panel<'a>,
    lines: &[Line],
    axis: &Axis,
) -> Result<(), DrawingAreaErrorKind<<BitMapBackend<'a> as DrawingBackend>::ErrorType>> {
    let highest = lines
        .iter()
        .flat_map(|line| line.points.iter().map(|(_, count)| *count))
        .fold(4.0_f64, f64::max);
    let font = |size: i32| (FONT, size).into_font().color(&WORDS);
    let mut chart = ChartBuilder::on(area)
        .margin_top(TITLE)
        .margin_right(28)
        .x_label_area_size(34)
        .y_label_area_size(64)
        .build_cartesian_2d(axis.from..0.0, 0.0..highest * 1.1)?;
    chart
        .configure_mesh()
        .light_line_style(BACKGROUND)
        .bold_line_style(GRID)
        .axis_style(GRID)
        .x_labels(7)
        .y_labels(4)
        .x_label_style(font(22))
        .y_label_style(font(22))
        .x_label_formatter(&|hour| in_hours(*hour))
        .y_label_formatter(&|count| format!("{count:.0}"))
        .draw()?;
    let mut left = 64;
    for line in lines.iter().filter(|line| !line.points.is_empty()) {
        for points in without_gaps(&line.points) {
            let stroke = line.colour.stroke_width(3);
            if line.is_filled {
                let series = AreaSeries::new(points, 0.0, line.colour.mix(0.25));
                chart.draw_series(series.border_style(stroke))?;
            } else {
                chart.draw_series(LineSeries::new(points, stroke))?;
            }
        }
        let last = line.points.last().map_or(0.0, |(_, count)| *count);
        let words = format!("{} {last:.0}", line.name);
        let style = (FONT, WORDS_SIZE.0).into_font().color(&line.colour);
        area.draw_text(&words, &style, (left, 8))?;
        left += WORDS_SIZE.1 * i32::try_from(words.chars().count()).unwrap_or(0) + 30;
    }
    if let Some((hour, words)) = &axis.mark {
        let top = highest * 1.1;
        let line = [(*hour, 0.0), (*hour, top)];
        chart.draw_series(LineSeries::new(line, MARK.stroke_width(2)))?;
        // On the side where there is more room.
        let is_late = *hour > axis.from / 2.0;
        let side = if is_late { HPos::Right } else { HPos::Left };
        let style = (FONT, 20).into_font().color(&MARK);
        let style = style.pos(Pos::new(side, VPos::Top));
        let (x, y) = chart.backend_coord(&(*hour, top));
        let beside = if is_late { -8 } else { 8 };
        let base = area.get_base_pixel();
        area.draw_text(words, &style, (x + beside - base.0, y + 2 - base.1))?;
    }
    Ok(())
}

/// `-3 h`, `-20 min`, `now`.
fn in_hours(hour: f64) -> String {
    if hour > -0.01 {
        return "now".to_owned();
    }
    if (hour - hour.round()).abs() < 0.01 {
        return format!("{hour:.0} h");
    }
    format!("{:.0} min", hour * 60.0)
}

/// The runs of points between gaps.
fn without_gaps(points: &[(f64, f64)]) -> Vec<Vec<(f64, f64)>> {
    let gap = GAP.as_seconds_f64() / 3600.0;
    points
        .chunk_by(|(before, _), (after, _)| after - before <= gap)
        .map(<[_]>::to_vec)
        .collect()
}

fn encode(pixels: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, SIZE.0, SIZE.1);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().context("begin a PNG")?;
    writer.write_image_data(pixels).context("write a PNG")?;
    writer.finish().context("end a PNG")?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(now: DateTime<Utc>, minutes: impl Iterator<Item = i64>) -> Vec<Sample> {
        minutes
            .map(|ago| Sample {
                at: now - TimeDelta::minutes(ago),
                nodes_ready: 2 + u32::try_from(ago).unwrap() / 90,
                pods_running: 20 + u32::try_from(ago).unwrap() / 10,
                pods_pending: u32::from(ago < 60) * 7,
                nodes_wanted: Some(3 + u32::try_from(ago).unwrap() / 90),
                servers: 9,
            })
            .collect()
    }

    fn drawn(samples: Vec<Sample>, until: DateTime<Utc>, mark: Option<DateTime<Utc>>) -> Chart {
        Chart {
            samples,
            hours: 6,
            until,
            mark,
        }
    }

    #[test]
    fn what_began_before_is_not_marked() {
        let now = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
        let shown = samples(now, (0..60).rev());
        for (ago, words) in [(12, Some("since 14:01 UTC")), (90, None)] {
            let mark = Some(now - TimeDelta::minutes(ago));
            let axis = axis(&drawn(shown.clone(), now, mark));
            let marked = axis.mark.map(|(_, words)| words);
            assert_eq!(marked.as_deref(), words, "{ago}");
        }
    }

    /// To be looked at: `PICTURE=/tmp/alert.png cargo test --lib an_hour_before_an_alert`.
    #[test]
    fn an_hour_before_an_alert_is_a_picture() {
        let now = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
        let shown = (0..60).rev().map(|ago: u32| Sample {
            at: now - TimeDelta::minutes(ago.into()),
            nodes_ready: 2 + u32::from(ago < 40),
            pods_running: 14 + 2 * u32::from(ago < 40),
            pods_pending: u32::from((40..46).contains(&ago)) * 2
                + u32::from(ago < 6) * 9_u32.saturating_sub(ago),
            nodes_wanted: Some(2 + u32::from(ago < 46) + u32::from(ago < 6) * 2),
            servers: 9,
        });
        let mark = Some(now - TimeDelta::minutes(5));
        let png = chart(&Chart {
            hours: 1,
            ..drawn(shown.collect(), now, mark)
        });
        let png = png.unwrap().unwrap();
        assert!(png.len() < 100_000, "{} bytes", png.len());
        if let Some(path) = std::env::var_os("PICTURE") {
            std::fs::write(path, png).unwrap();
        }
    }

    #[test]
    fn the_last_hours_are_a_picture() {
        let now = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
        let shown = samples(now, (0..360).rev().filter(|ago| !(150..200).contains(ago)));
        let mark = Some(now - TimeDelta::minutes(70));
        let png = chart(&drawn(shown, now, mark)).unwrap().unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(&png))
            .read_info()
            .unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.width, info.height), SIZE);
        let has = |colour: RGBColor| {
            let RGBColor(red, green, blue) = colour;
            pixels.chunks(3).any(|pixel| pixel == [red, green, blue])
        };
        for colour in [BACKGROUND, RUNNING, PENDING, NODES, WANTED, MARK] {
            assert!(has(colour), "{colour:?} is missing");
        }
    }

    #[test]
    fn there_is_no_picture_of_nothing() {
        let now = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
        let one = drawn(samples(now, 0..1), now, None);
        assert_eq!(chart(&one).unwrap(), None);
    }

    #[test]
    fn times_are_told_as_people_say_them() {
        let told = [-3.0, -0.1, -0.75, 0.0].map(in_hours);
        assert_eq!(told, ["-3 h", "-6 min", "-45 min", "now"]);
    }

    #[test]
    fn a_time_without_samples_is_a_gap() {
        let points = [(-1.0, 1.0), (-0.98, 1.0), (-0.5, 1.0)];
        assert_eq!(without_gaps(&points).len(), 2);
    }
}
