//! The confusion matrix.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::run::TrainError;

/// Edge of a cell in pixels, smaller if there are many.
const CELL: i32 = 72;
/// Longest edge of the matrix.
const MAX_EDGE: i32 = 900;
/// Room for the names of the labels and of the axes.
const MARGIN: i32 = 150;
/// Characters of a label's name that are shown.
const MAX_NAME: usize = 16;
const INK: RGBColor = RGBColor(40, 40, 40);

/// Draws how often each label was predicted for each as an SVG picture: a row per true label, shaded
/// by its share of the row.
///
/// - `counts`: by true label, then by prediction
///
/// # Errors
///
/// [`TrainError::Picture`] if there is nothing to draw.
pub fn confusion_matrix(labels: &[String], counts: &[Vec<u64>]) -> Result<String, TrainError> {
    let size = labels.len();
    if size == 0 || counts.len() != size || counts.iter().any(|row| row.len() != size) {
        return Err(TrainError::Picture {
            message: "a confusion matrix has a row and a column for each label".to_owned(),
        });
    }
    let cell = CELL.min(MAX_EDGE / size as i32).max(14);
    let edge = (MARGIN + cell * size as i32 + 20) as u32;
    let mut picture = String::new();
    let matrix = Matrix {
        labels,
        counts,
        cell,
    };
    matrix
        .draw(SVGBackend::with_string(&mut picture, (edge, edge)))
        .map_err(|error| TrainError::Picture {
            message: error.to_string(),
        })?;
    Ok(picture)
}

struct Matrix<'a> {
    labels: &'a [String],
    counts: &'a [Vec<u64>],
    cell: i32,
}

type Drawn<B> = Result<(), DrawingAreaErrorKind<<B as DrawingBackend>::ErrorType>>;
type Area<B> = DrawingArea<B, plotters::coord::Shift>;

impl Matrix<'_> {
    fn draw<B: DrawingBackend>(&self, backend: B) -> Drawn<B> {
        let area = backend.into_drawing_area();
        area.fill(&WHITE)?;
        for (row, counts) in self.counts.iter().enumerate() {
            let total = counts.iter().sum::<u64>().max(1) as f64;
            for (column, count) in counts.iter().enumerate() {
                self.draw_cell(&area, (column, row), *count, *count as f64 / total)?;
            }
        }
        self.draw_names(&area)?;
        area.present()
    }

    /// Upper left corner of a cell.
    fn corner(&self, (column, row): (usize, usize)) -> (i32, i32) {
        let place = |index: usize| MARGIN + self.cell * index as i32;
        (place(column), place(row))
    }

    fn draw_cell<B: DrawingBackend>(
        &self,
        area: &Area<B>,
        place: (usize, usize),
        count: u64,
        share: f64,
    ) -> Drawn<B> {
        let (x, y) = self.corner(place);
        let corners = [(x, y), (x + self.cell - 1, y + self.cell - 1)];
        // From white to a dark blue.
        let fade = |full: f64| (255.0 - (255.0 - full) * share) as u8;
        let color = RGBColor(fade(30.0), fade(80.0), fade(140.0));
        area.draw(&Rectangle::new(corners, color.filled()))?;
        if count == 0 {
            return Ok(());
        }
        let ink = if share > 0.5 { WHITE } else { INK };
        let style = ("sans-serif", (self.cell / 4).clamp(8, 16))
            .into_text_style(area)
            .color(&ink)
            .pos(Pos::new(HPos::Center, VPos::Center));
        let center = (x + self.cell / 2, y + self.cell / 2);
        area.draw(&Text::new(count.to_string(), center, style))
    }

    fn draw_names<B: DrawingBackend>(&self, area: &Area<B>) -> Drawn<B> {
        let font = ("sans-serif", (self.cell / 4).clamp(9, 14)).into_font();
        let right = Pos::new(HPos::Right, VPos::Center);
        let upright = font.clone().transform(FontTransform::Rotate270);
        for (index, label) in self.labels.iter().enumerate() {
            let name: String = label.chars().take(MAX_NAME).collect();
            let middle = self.corner((index, index)).0 + self.cell / 2;
            let style = TextStyle::from(font.clone()).pos(right);
            area.draw(&Text::new(name.clone(), (MARGIN - 8, middle), style))?;
            let style = TextStyle::from(upright.clone()).pos(Pos::new(HPos::Left, VPos::Center));
            area.draw(&Text::new(name, (middle, MARGIN - 8), style))?;
        }
        let axis = TextStyle::from(("sans-serif", 15).into_font());
        area.draw(&Text::new(
            "true label \u{2193}",
            (10, MARGIN - 26),
            axis.clone(),
        ))?;
        area.draw(&Text::new("predicted label \u{2192}", (10, 14), axis))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_count_and_label_is_in_the_picture() {
        let labels = ["negative".to_owned(), "positive".to_owned()];
        let picture = confusion_matrix(&labels, &[vec![411, 17], vec![0, 444]]).unwrap();
        for text in ["411", "17", "444", "negative", "positive", "true label"] {
            assert!(picture.contains(text), "`{text}` is missing");
        }
        // The background and four cells.
        assert_eq!(picture.matches("<rect").count(), 5);
        // A row in which everything is right, and nothing is wrong.
        assert!(picture.contains("#1E508C") && picture.contains("#FFFFFF"));
    }

    #[test]
    fn a_matrix_that_is_not_square_is_refused() {
        let labels = ["a".to_owned(), "b".to_owned()];
        assert!(confusion_matrix(&labels, &[vec![1, 2]]).is_err());
        assert!(confusion_matrix(&[], &[]).is_err());
    }
}
